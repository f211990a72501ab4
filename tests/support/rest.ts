import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryBlobs } from "@proof-of-compute/coordinator/adapters/memory/blobs";
import { SqliteStore } from "@proof-of-compute/coordinator/adapters/sqlite/store";
import { openCluster } from "@proof-of-compute/coordinator/compose/cluster";
import { openDispatch } from "@proof-of-compute/coordinator/compose/dispatch";
import { createBase } from "@proof-of-compute/coordinator/compose/part";
import { restComponents, restInit } from "@proof-of-compute/coordinator/compose/rest";
import { openProofs } from "@proof-of-compute/coordinator/compose/settlement";
import { type Batch, buildBatch, leafOf } from "@proof-of-compute/coordinator/domain/batch";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import { createRest } from "@proof-of-compute/coordinator/edges/rest/app";
import type { RestComponents, RestInit } from "@proof-of-compute/coordinator/edges/rest/components";
import { type CoordinatorKinds, KINDS } from "@proof-of-compute/coordinator/kinds/index";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import type { LiveNode } from "@proof-of-compute/coordinator/services/fleet/live-node";
import { INLINE_OUTPUT_BYTES } from "@proof-of-compute/coordinator/services/results/limits";
import { makeReceipt } from "@proof-of-compute/coordinator/services/results/receipt";
import type { SettlementStatus } from "@proof-of-compute/coordinator/services/settlement/status";
import { resolveSettings } from "@proof-of-compute/coordinator/settings/read";
import { addressFromBytes, fromHex, type Hex, parseAddress, receiptTree, sha256, toHex } from "@proof-of-compute/proto";
import { type HDNodeWallet, Wallet } from "ethers";
import { pino } from "pino";
import { SiweMessage } from "siwe";
import { echo, echoRequest } from "./echo/coordinator.ts";
import { aLink, anOffer } from "./fleet.ts";
import { ManualClock } from "./manual-clock.ts";

/** Origin of the tests' site. */
export const ORIGIN = "https://hub.example";
const CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const CHAIN_ID = 51;
const LEASE_MS = 30_000;
const SETTINGS = {
  LEASE_TIME: `${LEASE_MS}ms`,
  MAX_NODES: "10",
  MAX_QUEUED_TASKS: "50",
  MAX_QUEUED_PER_REQUESTER: "30",
};

/** Changes to the usual facade under test. */
export interface RestChange {
  readonly components?: Partial<RestComponents>;
  readonly init?: Partial<RestInit>;
  /** The kinds that this coordinator knows. Default: those of this version, and echo. */
  readonly kinds?: CoordinatorKinds;
  /** Another coordinator of the same network: same store, same clock. */
  readonly beside?: { readonly store: Store; readonly clock: ManualClock };
}

/** A facade on a real store, fleet and scheduler, without node streams. */
export async function startRest(change: RestChange = {}) {
  const directory = await mkdtemp(join(tmpdir(), "rest-"));
  const logged: Record<string, unknown>[] = [];
  const logger = pino({ level: "debug" }, { write: (line: string) => void logged.push(JSON.parse(line)) });
  const clock = change.beside?.clock ?? new ManualClock();
  const store: Store = change.beside?.store ?? new SqliteStore({ logger }, { path: join(directory, "store.sqlite") });
  await store.start();
  const base = createBase({ logger, clock, kinds: change.kinds ?? KINDS.with(echo), closeMs: 10_000 });
  const { events, kinds } = base;
  const blobs = new MemoryBlobs({ clock });
  const self = { coordinatorId: change.beside ? "second" : "first", incarnation: toHex(randomBytes(16)) };
  const cluster = await openCluster(base, { store }, { self, address: "http://127.0.0.1:0", leaseMs: LEASE_MS });
  const { peers, link, peerSecret } = cluster;
  const settings = resolveSettings(SETTINGS);
  const contract = { chainId: CHAIN_ID, address: parseAddress(CONTRACT) };
  const dispatch = await openDispatch(base, { store, peers, link }, { settings, contract });
  const { fleet, leases, sessions, scheduler } = dispatch;
  let status: SettlementStatus = { state: "running", openBatches: 0 };
  const settlement = { status: () => status };
  const proving = openProofs(base, { store });
  const { proofs } = proving;
  const parts = { store, blobs, cluster, dispatch, settlement, proofs };
  const components = restComponents(base, parts);
  const app = await createRest(
    { ...components, ...change.components },
    {
      ...(await restInit(parts, { settings, contract, grpcPort: settings.GRPC_ADDRESS.port })),
      // Written as an operator may write it.
      publicOrigins: [`${ORIGIN.toUpperCase()}/`],
      hubDirectory: join(directory, "no-hub"),
      ...change.init,
    },
  );
  components.watch.start();

  /** Signs in as a browser does; returns the session's cookie. */
  async function signIn(
    wallet: HDNodeWallet = Wallet.createRandom(),
  ): Promise<{ wallet: HDNodeWallet; cookie: string }> {
    const { nonce, cookie } = await askNonce();
    const response = await sendSignIn(await signed(wallet, { nonce }), cookie);
    if (response.statusCode !== 200) throw new Error(`sign-in failed: ${response.body}`);
    return { wallet, cookie: cookies(response.headers["set-cookie"]) };
  }

  async function askNonce(): Promise<{ nonce: string; cookie: string }> {
    const response = await app.inject({ url: "/api/auth/nonce" });
    return { nonce: response.json().nonce, cookie: cookies(response.headers["set-cookie"]) };
  }

  /** The body of a sign-in; valid unless `fields` change it. */
  async function signed(wallet: HDNodeWallet, fields: Partial<SiweMessage>) {
    const message = new SiweMessage({
      domain: new URL(ORIGIN).host,
      uri: ORIGIN,
      address: wallet.address,
      statement: "Sign in to Proof of Compute.",
      version: "1",
      chainId: CHAIN_ID,
      issuedAt: new Date(clock.now()).toISOString(),
      ...fields,
    }).prepareMessage();
    return { message, signature: await wallet.signMessage(message) };
  }

  const sendSignIn = (body: object, cookie: string) =>
    app.inject({ method: "POST", url: "/api/auth/sign-in", payload: body, headers: { cookie, origin: ORIGIN } });

  const sendTask = (cookie: string, body: object = echoRequest(), headers: Record<string, string> = {}) =>
    app.inject({
      method: "POST",
      url: "/api/node/dispatch-task",
      payload: body,
      headers: { cookie, origin: ORIGIN, ...headers },
    });

  /** A node with a session and a link that drops all frames. */
  async function joinNode(wallet = addressFromBytes(randomBytes(20)), unitsPerSecond?: number): Promise<LiveNode> {
    const offer = anOffer({
      wallet,
      kinds: kinds.names,
      slots: 2,
      ...(unitsPerSecond !== undefined && { unitsPerSecond }),
    });
    const { node } = await sessions.open(offer, aLink(), new AbortController().signal);
    return node;
  }

  /** The live run of a task at a node. */
  function runOf(node: LiveNode, taskId: Hex) {
    const run = [...node.assignments.values()].find(({ task }) => task.id === taskId);
    if (!run) throw new Error("the node does not run the task");
    return run;
  }

  /** Completes a task as the intake does after a right result; `output` is that of the task when absent. */
  async function complete(node: LiveNode, taskId: Hex, output?: Uint8Array): Promise<Receipt> {
    const run = runOf(node, taskId);
    const { kind, spec } = run.work;
    const specDigest = sha256(run.task.spec);
    const [assignmentId, nodeId] = [fromHex(run.id), fromHex(node.id)];
    const result =
      output ?? kind.protocol.recompute!({ assignmentId, taskId: fromHex(taskId), nodeId, specDigest, spec })!;
    const receipt = makeReceipt({
      assignment: run,
      specDigest,
      outputDigest: sha256(result),
      proof: { signature: toHex(randomBytes(64)), index: 0, size: 1, path: [] },
      units: kind.protocol.units(spec, result),
      acceptedAt: clock.now(),
    });
    const isInline = result.length <= INLINE_OUTPUT_BYTES;
    await leases.complete(run, receipt, isInline ? result : undefined);
    if (!isInline) await blobs.put(receipt.resultDigest, result);
    return receipt;
  }

  /** Closes a batch of all unbatched receipts, as settlement does. */
  async function closeBatch(): Promise<Batch> {
    const receipts = await store.unbatchedReceipts(1000);
    const { root } = receiptTree(receipts.map(leafOf));
    const batch = buildBatch(((await store.batches({ limit: 1 })).items[0]?.id ?? 0) + 1, receipts, root, clock.now());
    if (!(await store.insertBatch(batch))) throw new Error("the batch was not taken");
    events.publishAll();
    return batch;
  }

  async function setBatch(id: number, state: Batch["state"], transaction?: Hex, block?: number): Promise<void> {
    await store.updateBatch(id, { state, ...(transaction && { transaction }), ...(block !== undefined && { block }) });
    events.publishAll();
  }

  /** Listens, and registers the address for peers. */
  async function listen(): Promise<number> {
    await app.listen({ host: "127.0.0.1", port: 0 });
    const { port } = app.server.address() as AddressInfo;
    await peers.moveTo(`http://127.0.0.1:${port}`);
    return port;
  }

  return {
    app,
    store,
    listen,
    peers,
    link,
    peerSecret,
    blobs,
    logger,
    clock,
    fleet,
    leases,
    scheduler,
    events,
    logged,
    directory,
    signIn,
    askNonce,
    signed,
    sendSignIn,
    dispatch: sendTask,
    joinNode,
    runOf,
    complete,
    closeBatch,
    setBatch,
    setSettlement: (next: SettlementStatus) => {
      status = next;
    },
    get: (url: string, cookie?: string) => app.inject({ url, headers: cookie === undefined ? {} : { cookie } }),
    stop: async () => {
      await app.close();
      await components.watch.stop();
      await proving[Symbol.asyncDispose]();
      await dispatch[Symbol.asyncDispose]();
      await cluster[Symbol.asyncDispose]();
      if (!change.beside) await store.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A facade under test, with helpers. */
export type RestHarness = Awaited<ReturnType<typeof startRest>>;

/** The Cookie header of a browser after these Set-Cookie headers. */
export function cookies(header: string | string[] | undefined): string {
  return [header ?? []]
    .flat()
    .map((cookie) => cookie.split(";", 1)[0]!)
    .filter((cookie) => !cookie.endsWith("="))
    .join("; ");
}
