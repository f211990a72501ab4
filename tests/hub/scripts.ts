import { configView } from "@proof-of-compute/coordinator/edges/rest/network/views";
import { type CoordinatorKinds, KINDS } from "@proof-of-compute/coordinator/kinds/index";
import { parseAddress } from "@proof-of-compute/proto";
import { AbiCoder } from "ethers";
import { type Answer, type Call, problem, type ScriptedApi } from "./scripted-api.ts";

/** Builders of the API's answers, and the script of a network without problems. Times are relative to now. */

export const hex = (bytes: number, fill: string) => `0x${fill.repeat(bytes * 2).slice(0, bytes * 2)}`;

export const CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
export const OTHER_WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

const CHAIN_ID = 31337;

/** The configuration of a local network, with the limits and presets that the coordinator itself publishes. */
export function config(url: string, change: Record<string, unknown> = {}, kinds: CoordinatorKinds = KINDS) {
  const network = {
    name: "local" as const,
    chainId: CHAIN_ID,
    rpcUrl: `${url}/rpc`,
    contractAddress: parseAddress(CONTRACT),
  };
  const init = { network, grpcAddress: "127.0.0.1:50051", version: "0.1.0", localWallet: true };
  return { ...configView(init, kinds, CHAIN_ID), ...change };
}

export const settlement = {
  state: "running",
  openBatches: 0,
  lastRecorded: 12,
  recorderBalance: "9999998712345678901234",
};

export function network(change: Record<string, unknown> = {}) {
  return {
    nodes: { online: 3, suspect: 1 },
    unitsPerSecond: { matmul: 250_000 } as Record<string, number>,
    queue: { queued: 2, running: 3 },
    tasks: { queued: 2, running: 3, cancelling: 0, verified: 1284, failed: 4, cancelled: 9 },
    receipts: 1284,
    unbatchedReceipts: 6,
    units: { verified: "21037056", recorded: "20938752" },
    settlement,
    ...change,
  };
}

export function node(fill: string, wallet: string, change: Record<string, unknown> = {}) {
  return {
    id: hex(32, fill),
    wallet,
    status: "online",
    lastSeen: Date.now() - 1_000,
    kinds: ["matmul"],
    slots: 8,
    offers: [{ kind: "matmul", slots: 8, unitsPerSecond: 250_000 }],
    version: "0.1.0",
    confirmed: true,
    hardware: { cpuModel: "AMD EPYC", cpuCores: 8, memoryBytes: 16e9, platform: "linux-x64" },
    live: { running: 2, freeSlots: 6, cap: 8, load: 0.4 },
    ...change,
  };
}

const MATRICES = { n: 1024, k: 5 };

export function task(requester: string, change: Record<string, unknown> = {}) {
  return {
    id: hex(16, "0199c4a1b2"),
    kind: "matmul",
    matmul: MATRICES,
    state: "queued",
    requester,
    units: "16384",
    createdAt: Date.now() - 4_000,
    deadline: Date.now() + 86_400_000,
    attempts: 0,
    assignments: [],
    specDigest: hex(32, "5bec"),
    ...change,
  };
}

/** Answers `GET /api/tasks` with pages of `all`, which has the newest first. */
export function pagesOf(all: readonly { readonly id: string }[]) {
  return ({ query }: Call): Answer => {
    const after = all.findIndex(({ id }) => id === query.get("cursor")) + 1;
    const items = all.slice(after, after + Number(query.get("limit")));
    const more = after + items.length < all.length;
    return { body: { items, ...(more && { cursor: items.at(-1)?.id }) } };
  };
}

const NODE = hex(32, "a1f3");
const ASSIGNMENT = hex(16, "0199c4a1c7");

/** The views of a task, by state. */
export function stages(requester: string) {
  const now = Date.now();
  const live = { id: ASSIGNMENT, nodeId: NODE, wallet: requester, state: "live", assignedAt: now - 3_600 };
  const accepted = { ...live, state: "accepted", endedAt: now - 900 };
  const verified = {
    state: "verified",
    assignments: [accepted],
    resultDigest: hex(32, "77d0"),
    receiptId: ASSIGNMENT,
    verifiedAt: now - 900,
    matmul: { ...MATRICES, check: { method: "freivalds", errorBound: "2^-112" } },
  };
  const carried = { id: 13, transaction: hex(32, "c0ffee12"), block: 4711 };
  return {
    queued: task(requester, { waitingReason: "no online node serves kind matmul" }),
    running: task(requester, { state: "running", progress: 0.42, assignments: [live] }),
    verified: task(requester, verified),
    batched: task(requester, { ...verified, state: "batched", batch: { ...carried, state: "included" } }),
    recorded: task(requester, { ...verified, state: "recorded", batch: { ...carried, state: "recorded" } }),
    failed: task(requester, {
      state: "failed",
      attempts: 3,
      assignments: [{ ...live, state: "failed", endedAt: now - 100, reason: "OUT_OF_MEMORY" }],
      error: { code: "TOO_MANY_ATTEMPTS", detail: "3 nodes failed; the last said: OUT_OF_MEMORY" },
    }),
    cancelled: task(requester, {
      state: "cancelled",
      assignments: [{ ...live, state: "cancelled", endedAt: now - 100, reason: "CANCELLED" }],
      error: { code: "CANCELLED", detail: "cancelled by its requester" },
    }),
  };
}

export function batch(id: number, change: Record<string, unknown> = {}) {
  return {
    id,
    root: hex(32, `${id}ab`),
    state: "recorded",
    units: "98304",
    providers: 3,
    closedAt: Date.now() - (14 - id) * 65_000,
    transaction: hex(32, `${id}c0ffee`),
    block: 4600 + id * 9,
    ...change,
  };
}

/** Answers JSON-RPC as a chain whose contract has `units` for every wallet. */
export function chain(units: bigint, block = 4711) {
  const header = {
    number: `0x${block.toString(16)}`,
    hash: hex(32, "b1"),
    parentHash: hex(32, "b0"),
    timestamp: "0x65000000",
    nonce: "0x0000000000000000",
    difficulty: "0x0",
    gasLimit: "0x1c9c380",
    gasUsed: "0x0",
    miner: OTHER_WALLET,
    extraData: "0x",
    transactions: [],
  };
  return ({ body }: Call): Answer => {
    const one = ({ id, method }: { id: number; method: string }) => ({
      jsonrpc: "2.0",
      id,
      result: method === "eth_call" ? AbiCoder.defaultAbiCoder().encode(["uint256"], [units]) : header,
    });
    return { body: Array.isArray(body) ? body.map(one) : one(body as never) };
  };
}

/** Scripts a local network without problems. The browser's wallet is signed in after it signs. */
export function goesWell(api: ScriptedApi): void {
  let wallet: string | null = null;
  const session = () => ({ wallet, xdcWallet: `xdc${wallet?.slice(2)}`, expiresAt: Date.now() + 86_400_000 });
  const mine = () => wallet ?? OTHER_WALLET;
  const signedIn = (answer: () => Answer) => () =>
    wallet ? answer() : problem(401, "UNAUTHENTICATED", "Sign in with your wallet first.");

  api.routes.clear();
  api
    .on("GET /api/config", () => ({ body: config(api.url) }))
    .on("GET /api/network", () => ({ body: network() }))
    .on("GET /api/auth/session", () => ({ body: { session: wallet ? session() : null } }))
    .on("GET /api/auth/nonce", () => ({ body: { nonce: "k3m9x2v8q1z7w5t4", expiresAt: Date.now() + 300_000 } }))
    .on("POST /api/auth/sign-in", ({ body }) => {
      wallet = (body as { message: string }).message.split("\n")[1] ?? null;
      return { body: session() };
    })
    .on("POST /api/auth/sign-out", () => {
      wallet = null;
      return { status: 204 };
    })
    .on("GET /api/node/status", ({ query }) => {
      const asked = query.get("wallet") ?? mine();
      return { body: { wallet: asked, xdcWallet: `xdc${asked.slice(2)}`, nodes: [] } };
    })
    .on("GET /api/nodes", () => ({
      body: { items: [node("a1f3", OTHER_WALLET), node("0b77", OTHER_WALLET, { confirmed: false })] },
    }))
    .on("GET /api/batches", () => ({ body: { items: [12, 11, 10].map((id) => batch(id)) } }))
    .on("GET /api/batches/*", ({ params }) => ({ body: { ...batch(Number(params[0])), receipts: 6, credits: [] } }))
    .on("GET /api/receipts/*", () => ({
      body: { receipt: {}, leaf: hex(32, "1e"), batch: { id: 13, root: hex(32, "13ab"), state: "recorded" } },
    }))
    .on(
      "GET /api/tasks",
      signedIn(() => ({ body: { items: [] } })),
    )
    .on(
      "GET /api/tasks/*",
      signedIn(() => ({ body: stages(mine()).recorded })),
    )
    .on("POST /rpc", chain(1_294_336n));
}
