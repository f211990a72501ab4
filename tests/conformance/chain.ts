import {
  type BatchContent,
  BatchTooLarge,
  type Chain,
  ContractRefusal,
} from "@proof-of-compute/coordinator/ports/chain";
import { type Address, addressFromBytes, toHex } from "@proof-of-compute/proto";
import { expect, test } from "vitest";

/** A contract on its own chain, and the means to change both. Finality lags {@link LAG} blocks behind the head. */
export interface ChainWorld {
  readonly chain: Chain;
  /** Makes blocks. */
  mine(blocks: number): Promise<void>;
  /** Whether each transaction gets a block at once; on at first. */
  setAutoMine(on: boolean): Promise<void>;
  setPaused(on: boolean): Promise<void>;
  /** Gives the recorder's role to another wallet, or back. */
  setRecorder(isOurs: boolean): Promise<void>;
  /** Sets the recorder's balance, in wei. */
  setBalance(wei: bigint): Promise<void>;
  /** Remembers the present state; the returned function drops every later block. */
  mark(): Promise<() => Promise<void>>;
}

export const LAG = 3;

const ALICE = addressFromBytes(new Uint8Array(20).fill(0xa1));
const BOB = addressFromBytes(new Uint8Array(20).fill(0xb0));
const rootOf = (id: number, variant = 0) => toHex(Uint8Array.from({ length: 32 }, (_, at) => (at ? id : 1 + variant)));
const wallet = (n: number): Address =>
  addressFromBytes(Uint8Array.from({ length: 20 }, (_, at) => (at < 4 ? n >> (8 * at) : 7)));

function aBatch(id: number, change: Partial<BatchContent> = {}): BatchContent {
  return { id, root: rootOf(id), credits: [{ provider: ALICE, units: 5n }], ...change };
}

const refusalOf = (call: Promise<unknown>) => call.catch((error: unknown) => error);

/** What settlement relies on. */
export function describeChain(make: () => Promise<ChainWorld>): void {
  test("identifies itself and the recorder, and whether the contract accepts its batches", async () => {
    const world = await make();
    const { chain } = world;
    const { recorder, balance, ...rest } = await chain.identify();
    expect(rest).toEqual({ chainId: chain.chainId, contract: chain.contract, isRecorder: true });
    expect(balance).toBeGreaterThan(0n);
    await world.setBalance(77n);
    await world.setRecorder(false);
    expect(await chain.identify()).toEqual({ ...rest, recorder, balance: 77n, isRecorder: false });
  });

  test("records batches in order, first at latest and later at finalized", async () => {
    const { chain, mine } = await make();
    const seen = async (at: "latest" | "finalized") => [await chain.nextBatchId(at), await chain.rootOf(1, at)];
    expect([await seen("latest"), await seen("finalized")]).toEqual([
      [1, null],
      [1, null],
    ]);
    const credits = [
      { provider: ALICE, units: 5n },
      { provider: BOB, units: 7n },
    ];
    const sent = await chain.send(aBatch(1, { credits }));
    expect(await seen("latest")).toEqual([2, rootOf(1)]);
    await mine(LAG - 1);
    expect(await seen("finalized")).toEqual([1, null]);
    await mine(1);
    expect(await seen("finalized")).toEqual([2, rootOf(1)]);
    const recording = await chain.recording(1);
    expect(recording).toEqual({ transaction: sent.hash, block: expect.any(Number) });
    expect(await chain.recording(2)).toBeNull();
    await chain.send(aBatch(2));
    expect((await chain.recording(2))!.block).toBeGreaterThan(recording!.block);
    expect([await chain.computeUnits(ALICE), await chain.computeUnits(BOB)]).toEqual([10n, 7n]);
  });

  test.each([
    ["BatchOutOfOrder", 2, [1n, 2n]],
    ["BatchOutOfOrder", 0, [1n, 0n]],
    ["EnforcedPause", 1, []],
    ["NotRecorder", 1, [expect.stringMatching(/^0x[0-9a-fA-F]{40}$/)]],
  ] as const)("reports the contract's refusal with name and arguments: %s, batch %i", async (error, id, values) => {
    const world = await make();
    if (error === "EnforcedPause") await world.setPaused(true);
    if (error === "NotRecorder") await world.setRecorder(false);
    for (const call of [world.chain.estimate(aBatch(id)), world.chain.send(aBatch(id))]) {
      const refusal = await refusalOf(call);
      expect(refusal).toBeInstanceOf(ContractRefusal);
      expect(refusal).toMatchObject({ error, values });
    }
    expect(await world.chain.nextBatchId("latest")).toBe(1);
    if (error === "EnforcedPause") await world.setPaused(false);
    if (error === "NotRecorder") await world.setRecorder(true);
    await world.chain.send(aBatch(1));
    expect(await world.chain.nextBatchId("latest")).toBe(2);
  });

  test("estimates more gas for more wallets, and refuses a batch that fits no transaction", async () => {
    const { chain } = await make();
    const of = (count: number) =>
      aBatch(1, { credits: Array.from({ length: count }, (_, n) => ({ provider: wallet(n), units: 1n })) });
    expect(await chain.estimate(of(50))).toBeGreaterThan(await chain.estimate(of(1)));
    await expect(chain.estimate(of(2_000))).rejects.toBeInstanceOf(BatchTooLarge);
  });

  test("a pending transaction has no effect, and is replaced under its nonce for at least a tenth more", async () => {
    const { chain, mine, setAutoMine } = await make();
    await setAutoMine(false);
    const first = await chain.send(aBatch(1));
    expect(await chain.rootOf(1, "latest")).toBeNull();
    const second = await chain.send(aBatch(1), first);
    expect(second.nonce).toBe(first.nonce);
    expect(second.feePerGas * 10n).toBeGreaterThanOrEqual(first.feePerGas * 11n);
    expect(second.hash).not.toBe(first.hash);
    await mine(1);
    expect(await chain.recording(1)).toMatchObject({ transaction: second.hash });
    const fresh = await chain.send(aBatch(2), second);
    expect(fresh.nonce).toBe(first.nonce + 1);
    expect(fresh.feePerGas).toBeLessThan(second.feePerGas);
  });

  test("replaces a pending transaction of an earlier run", async () => {
    const { chain, mine, setAutoMine } = await make();
    await setAutoMine(false);
    const first = await chain.send(aBatch(1));
    const again = await chain.send(aBatch(1, { root: rootOf(1, 1) }));
    expect(again.nonce).toBe(first.nonce);
    await mine(1);
    expect(await chain.rootOf(1, "latest")).toBe(rootOf(1, 1));
  });

  test("says how much a recorder lacks that cannot pay", async () => {
    const { chain, setBalance } = await make();
    await setBalance(1_000n);
    await expect(chain.send(aBatch(1))).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringMatching(/^the recorder 0x\w{40} holds .* may cost .*: send it coins$/),
    });
    await setBalance(10n ** 18n);
    const { maxCost } = await chain.send(aBatch(1));
    expect(maxCost).toBeLessThan(10n ** 18n);
  });

  test("a reorg drops batches, and they can be sent again", async () => {
    const { chain, mark, mine } = await make();
    await chain.send(aBatch(1));
    const reorganise = await mark();
    await chain.send(aBatch(2));
    await chain.send(aBatch(3));
    await reorganise();
    expect([await chain.nextBatchId("latest"), await chain.rootOf(2, "latest")]).toEqual([2, null]);
    expect(await chain.recording(2)).toBeNull();
    expect(await chain.computeUnits(ALICE)).toBe(5n);
    await chain.send(aBatch(2, { root: rootOf(2, 1) }));
    await mine(LAG);
    expect([await chain.nextBatchId("finalized"), await chain.rootOf(2, "finalized")]).toEqual([3, rootOf(2, 1)]);
  });
}
