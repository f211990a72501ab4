import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import {
  type Address,
  addressBytes,
  equal,
  helloMessage,
  merkleRoot,
  resultMessage,
  resultsMessage,
  sha256,
  toHex,
} from "@proof-of-compute/proto";
import { computeProduct, matmulSeed } from "@proof-of-compute/proto/kinds/matmul";
import { Wallet } from "ethers";
import { expect, onTestFinished, test } from "vitest";
import { connectRaw, type Frame, type RawStream, serveRaw } from "../support/grpc-tap.ts";
import { Program } from "../support/process.ts";
import { startTestCoordinator } from "../support/start-coordinator.ts";
import { PATIENCE } from "../support/test-network.ts";
import { readDaemonKey, readFacts, readStreams, restore, temporaryFolder } from "./fixtures.ts";
import { type OldMessage, oldCoordinatorFrame, oldHelloTerms, oldNodeFrame, oldTaskSpec } from "./messages.ts";

/** Messages as they came, and a way to wait for the next one. */
class Inbox {
  readonly all: OldMessage[] = [];
  #wake = Promise.withResolvers<void>();

  push(message: OldMessage): void {
    this.all.push(message);
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  /** The first that fits, whether it came already or comes yet. */
  async first(what: string, fits: (message: OldMessage) => boolean): Promise<OldMessage> {
    const late = AbortSignal.timeout(PATIENCE.timeout);
    for (;;) {
      const found = this.all.find(fits);
      if (found) return found;
      const came = this.all.map(({ message }) => message).join(" ");
      if (late.aborted) throw new Error(`no ${what} came, only: ${came}`);
      await Promise.race([this.#wake.promise, once(late, "abort")]);
    }
  }
}

const is = (kind: string) => (frame: OldMessage) => frame.message === kind;
const framesOf = (stream: readonly Frame[], from: Frame["from"]) =>
  stream.filter((frame) => frame.from === from).map(({ bytes }) => bytes);

test("messages of a daemon of the version before: its session resumes here, and its results are accepted", async (context) => {
  const facts = await readFacts("sqlite");
  const streams = await readStreams("resumed");
  const sent = framesOf(streams.at(-1)!, "node");
  const [draining] = framesOf((await readStreams("served"))[0]!, "node").filter(
    (bytes) => oldNodeFrame.read(bytes).message === "draining",
  );
  const { hello } = oldNodeFrame.read(sent[0]!);
  const terms = oldHelloTerms.read(hello.terms);
  expect(terms.running_assignment_ids).toHaveLength(2);

  const coordinator = await startTestCoordinator({
    ...(await restore("sqlite", context)),
    XDC_RPC_URL: "",
    HEARTBEAT_INTERVAL: "500ms",
    RESULT_RETENTION: "36500d",
    TASK_RETENTION: "36500d",
  });
  onTestFinished(() => coordinator.stop());
  const { call, close } = connectRaw(coordinator.grpcAddress);
  onTestFinished(close);
  const inbox = new Inbox();
  call.on("data", (bytes: Buffer) => inbox.push(oldCoordinatorFrame.read(bytes)));
  call.on("error", () => {});

  // Everything as it was recorded, but for what the session's nonce and the coordinator's address decide.
  const { challenge } = await inbox.first("challenge", is("challenge"));
  const audience = coordinator.grpcAddress;
  const message = helloMessage({ nonce: challenge.nonce, audience, nodeId: hello.node_id, terms: hello.terms });
  const signature = sign(null, message, createPrivateKey(await readDaemonKey()));
  call.write(oldNodeFrame.write({ hello: { ...hello, audience, signature } }));
  const { welcome } = await inbox.first("welcome", is("welcome"));
  expect(welcome).toMatchObject({ heartbeat_interval_ms: 500, lease_ms: 30_000, inline_output_bytes: 65_536 });
  expect(welcome.session_id).toHaveLength(16);
  for (const bytes of sent.slice(1)) call.write(bytes);

  const resumed = new Set<string>(terms.running_assignment_ids.map((id: Buffer) => id.toString("hex")));
  const verdicts = () =>
    inbox.all
      .filter(is("acks"))
      .flatMap(({ acks }) => acks.acks)
      .filter(({ assignment_id: id }: OldMessage) => resumed.has(id.toString("hex")));
  await expect
    .poll(() => new Set(verdicts().map(({ assignment_id: id }) => id.toString("hex"))), PATIENCE)
    .toEqual(resumed);
  for (const { verdict, reason, units } of verdicts()) {
    expect({ verdict, reason }).toEqual({ verdict: "VERDICT_ACCEPTED", reason: "" });
    expect(Number(units)).toBeGreaterThan(0);
  }
  for (const id of facts.tasks.resumed) expect(await coordinator.store.task(id)).toMatchObject({ state: "verified" });
  const [node] = (await coordinator.store.nodes({ limit: 9, wallet: facts.wallets.resumed })).items;
  expect(node).toMatchObject({
    status: "online",
    version: terms.version,
    slots: terms.slots,
    offers: [{ kind: "matmul", slots: terms.slots, unitsPerSecond: Number(terms.units_per_second) }],
  });

  // It is given tasks of the kind that it names, in a form that it reads.
  const { assignments } = await inbox.first("assignments", is("assignments"));
  for (const { assignment_id, task_id, spec } of assignments.assignments) {
    expect([assignment_id.length, task_id.length]).toEqual([16, 16]);
    expect(facts.tasks.queued).toContain(toHex(task_id));
    expect(oldTaskSpec.read(spec)).toMatchObject({ kind: "matmul", matmul: { n: expect.any(Number) } });
  }
  expect(inbox.all.filter(({ message }) => message === undefined)).toEqual([]);

  // And its goodbye is understood.
  const given = assignments.assignments.map(({ assignment_id }: OldMessage) => assignment_id);
  for (const assignment_id of given) {
    call.write(oldNodeFrame.write({ failure: { assignment_id, code: "FAILURE_CODE_BUSY", detail: "leaving" } }));
  }
  call.write(draining!);
  await expect
    .poll(async () => {
      const tasks = await Promise.all(facts.tasks.queued.map((id) => coordinator.store.task(id)));
      return tasks.map((task) => task!.state);
    }, PATIENCE)
    .toEqual(["queued", "queued"]);
});

test("messages of a coordinator of the version before: a daemon of this one serves its session to the end", async () => {
  const [stream] = await readStreams("served");
  const down = framesOf(stream!, "coordinator");
  const wallet = Wallet.createRandom().address as Address;
  const inbox = new Inbox();
  const opened = Promise.withResolvers<RawStream>();
  const { port, stop } = await serveRaw((raw) => {
    raw.on("data", (bytes: Buffer) => inbox.push(oldNodeFrame.read(bytes)));
    raw.on("error", () => {});
    raw.on("end", () => raw.end());
    opened.resolve(raw);
  });
  onTestFinished(stop);
  const address = `127.0.0.1:${port}`;
  const daemon = new Program("daemon/src/main.ts", [
    ...["--coordinator", address, "--wallet-address", wallet, "--slots", "2", "--log", "json"],
    ...["--data-dir", join(await temporaryFolder(), "daemon")],
  ]);
  onTestFinished(async () => void (await daemon.end("SIGKILL")));
  daemon.start();
  const raw = await opened.promise;

  const replayed = down.map((bytes) => ({ bytes, frame: oldCoordinatorFrame.read(bytes) }));
  const challenge = replayed.shift()!;
  raw.write(challenge.bytes);
  const { hello } = await inbox.first("hello", is("hello"));
  const { nonce } = challenge.frame.challenge;
  const { audience, node_id: nodeId, terms } = hello;
  expect(audience).toBe(address);
  const key = publicKey(nodeId);
  expect(verify(null, helloMessage({ nonce, audience, nodeId, terms }), key, hello.signature)).toBe(true);
  const said = oldHelloTerms.read(terms);
  expect(said).toMatchObject({ kinds: ["TASK_KIND_MATMUL"], slots: 2, running_assignment_ids: [] });
  expect(equal(said.wallet, addressBytes(wallet))).toBe(true);
  expect(Number(said.units_per_second)).toBeGreaterThan(0);
  expect(said.hardware.cpu_cores).toBeGreaterThan(0);

  // Answers wait for what they answer, as they did.
  const given = new Map<string, OldMessage>();
  let accepted = 0;
  for (const { bytes, frame } of replayed) {
    if (frame.message === "acks") {
      for (const { assignment_id: id } of frame.acks.acks) {
        const { results } = await inbox.first("results", (each) => has(each, id));
        expectRight(results, id, { nodeId, wallet, key, given, inbox });
        accepted++;
      }
    }
    if (frame.message === "cancel") {
      const id = frame.cancel.assignment_id;
      await inbox.first(
        "progress",
        ({ message, progress }) => message === "progress" && equal(progress.assignment_id, id),
      );
    }
    for (const each of frame.assignments?.assignments ?? []) given.set(each.assignment_id.toString("hex"), each);
    raw.write(bytes);
    if (frame.message === "cancel") {
      const { failure } = await inbox.first("failure", is("failure"));
      expect(failure).toMatchObject({ assignment_id: frame.cancel.assignment_id, code: "FAILURE_CODE_CANCELLED" });
    }
  }
  expect(accepted).toBeGreaterThanOrEqual(5);
  const count = inbox.all.length;
  await inbox.first("heartbeat without assignments", (frame) => {
    return (
      inbox.all.indexOf(frame) >= count &&
      frame.message === "heartbeat" &&
      frame.heartbeat.running_assignment_ids.length === 0
    );
  });
  expect(await daemon.end("SIGTERM"), daemon.lastLines).toBe(0);
  expect(inbox.all.at(-1)).toMatchObject({ message: "draining" });
  expect(inbox.all.filter(({ message }) => message === undefined)).toEqual([]);
});

function has({ message, results }: OldMessage, id: Buffer): boolean {
  return message === "results" && results.results.some((result: OldMessage) => equal(result.assignment_id, id));
}

function publicKey(raw: Buffer): KeyObject {
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") }, format: "jwk" });
}

interface Session {
  readonly nodeId: Buffer;
  readonly wallet: Address;
  readonly key: KeyObject;
  readonly given: ReadonlyMap<string, OldMessage>;
  readonly inbox: Inbox;
}

/** As the version before judges a frame of results: its signature, then the result of that assignment. */
function expectRight(
  { results, signature }: OldMessage,
  id: Buffer,
  { nodeId, wallet, key, given, inbox }: Session,
): void {
  const messages = results.map(({ assignment_id, task_id, spec_digest, output_digest }: OldMessage) =>
    resultMessage({
      assignmentId: assignment_id,
      taskId: task_id,
      specDigest: spec_digest,
      outputDigest: output_digest,
      wallet: addressBytes(wallet),
    }),
  );
  expect(verify(null, resultsMessage(merkleRoot(messages)), key, signature)).toBe(true);
  const result = results.find(({ assignment_id }: OldMessage) => equal(assignment_id, id));
  const { assignment_id: assignmentId, task_id: taskId, spec } = given.get(id.toString("hex"));
  expect(equal(result.task_id, taskId)).toBe(true);
  const specDigest = sha256(spec);
  expect(equal(result.spec_digest, specDigest)).toBe(true);
  const { n, k } = oldTaskSpec.read(spec).matmul;
  const output = computeProduct({ seed: matmulSeed({ assignmentId, taskId, nodeId, specDigest }), n, k })!;
  expect(equal(result.output_digest, sha256(output))).toBe(true);
  const chunks = inbox.all.filter(
    ({ message, output_chunk }) => message === "output_chunk" && equal(output_chunk.assignment_id, id),
  );
  const bytes =
    output.length > 65_536 ? Buffer.concat(chunks.map(({ output_chunk }) => output_chunk.data)) : result.output;
  expect(Buffer.compare(bytes, output)).toBe(0);
}
