import { LINKS, type LinkDescription } from "@proof-of-compute/proto/links";
import type { CheckedLink, Sources } from "@proof-of-compute/proto/verify";
import { messageOf } from "#lib/api/client.ts";
import { refusalOf } from "#lib/chain/reach.ts";
import { checkInWorker, recomputeInWorker } from "#lib/kinds/evidence.ts";

/** How to check a receipt. */
export interface How {
  /** JSON-RPC of the chain; empty: the chain is not read. */
  readonly rpcUrl: string;
  /** Whether to recompute the result instead of downloading it. */
  readonly recompute: boolean;
}

const TIMEOUT_MS = 15_000;

function assertReach(url: string): void {
  const refusal = refusalOf(url);
  if (refusal !== undefined) throw new Error(refusal);
}

/** Downloads at most `limit` bytes. */
async function download(
  url: string,
  limit: number,
  report: (fraction: number) => void,
  signal: AbortSignal,
): Promise<Uint8Array> {
  assertReach(url);
  const answer = await fetch(url, { signal, credentials: "omit" }).catch((cause) => {
    signal.throwIfAborted();
    throw new Error(`${new URL(url).origin} does not answer.`, { cause });
  });
  if (!answer.ok || !answer.body) throw new Error(`The result could not be downloaded (status ${answer.status}).`);
  const bytes = new Uint8Array(limit);
  let length = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { value, done } = await reader.read();
    if (done) return bytes.subarray(0, length);
    if (length + value.length > limit) throw new Error(`The download has more than the ${limit} bytes of a result.`);
    bytes.set(value, length);
    length += value.length;
    report(length / limit);
  }
}

type Verdict = "verified" | "broken" | "unproven";

/** How many receipts there are, and the verdicts on those that were checked. */
export interface Tally extends Record<Verdict, number> {
  readonly total: number;
}

/** The verdict with the larger weight is shown for several receipts. */
const WEIGHT = { verified: 0, unproven: 1, broken: 2 };

/** The state of a check of receipts, link by link. */
export class Verification {
  /** All links of the shown receipt, in order. The page shows the current receipt, and at the end the worst. */
  links = $state.raw<readonly LinkDescription[]>(LINKS);
  /** Those of its links that were checked, in the same order. */
  checked = $state.raw<readonly CheckedLink[]>([]);
  /** The name of the link under check. */
  current = $state<string>();
  /** Progress of that check, 0 to 1, if known. */
  progress = $state<number>();
  /** The verdict, once the check is complete. */
  verdict = $state<Verdict>();
  /** The verdicts on all receipts so far. */
  tally = $state.raw<Tally>();
  /** Why the check itself failed. */
  error = $state<string>();
  #abort = new AbortController();

  /** Checks receipts one after the other. Stops an earlier check. */
  async run(texts: readonly string[], how: How): Promise<void> {
    this.stop();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.verdict = undefined;
    this.error = undefined;
    let tally: Tally = { total: texts.length, verified: 0, broken: 0, unproven: 0 };
    this.tally = tally;
    let worst: { links: readonly LinkDescription[]; checked: readonly CheckedLink[]; verdict: Verdict } | undefined;
    try {
      for (const text of texts) {
        const verdict = await this.#check(text, how, signal);
        if (verdict === undefined) return;
        tally = { ...tally, [verdict]: tally[verdict] + 1 };
        this.tally = tally;
        if (!worst || WEIGHT[verdict] > WEIGHT[worst.verdict]) {
          worst = { links: this.links, checked: this.checked, verdict };
        }
      }
      this.links = worst?.links ?? LINKS;
      this.checked = worst?.checked ?? [];
      this.verdict = worst?.verdict;
    } catch (error) {
      if (!signal.aborted) this.error = messageOf(error);
    } finally {
      if (!signal.aborted) this.current = undefined;
    }
  }

  /** Checks one receipt. Undefined when the check was stopped. */
  async #check(text: string, how: How, signal: AbortSignal): Promise<Verdict | undefined> {
    const { linksOf, verdictOf, verifyReceipt } = await import("@proof-of-compute/proto/verify");
    if (signal.aborted) return undefined;
    this.links = linksOf(text);
    this.checked = [];
    this.current = this.links[0]?.name;
    for await (const link of verifyReceipt(text, this.#sources(how, signal))) {
      if (signal.aborted) return undefined;
      this.checked = [...this.checked, link];
      this.current = this.links[this.checked.length]?.name;
      this.progress = undefined;
    }
    return verdictOf(this.checked);
  }

  /** Stops the check. */
  stop(): void {
    this.#abort.abort();
    this.current = undefined;
    this.progress = undefined;
  }

  #sources({ rpcUrl, recompute }: How, signal: AbortSignal): Sources {
    const report = (fraction: number) => {
      if (!signal.aborted) this.progress = fraction;
    };
    return {
      ...(rpcUrl !== "" && { chain: (where, batch) => readChain(rpcUrl, where, batch) }),
      result: async (file, work, kind) => {
        if (recompute) return recomputeInWorker(kind, work, { report, signal });
        if (!file.result.available)
          throw new Error("The coordinator no longer keeps the result. Let this browser recompute it.");
        return download(file.result.url, kind.bounds(work.spec).maxOutputBytes, report, signal);
      },
      link: (name, claim, kind) => checkInWorker(kind, name, claim, { report, signal }),
    };
  }
}

const readChain = async (
  rpcUrl: string,
  where: Parameters<NonNullable<Sources["chain"]>>[0],
  batch: Parameters<NonNullable<Sources["chain"]>>[1],
) => {
  assertReach(rpcUrl);
  const [{ FetchRequest, JsonRpcProvider }, { readChainFacts }] = await Promise.all([
    import("ethers"),
    import("@proof-of-compute/proto/verify-chain"),
  ]);
  const request = new FetchRequest(rpcUrl);
  request.timeout = TIMEOUT_MS;
  const provider = new JsonRpcProvider(request, where.chainId, { staticNetwork: true, cacheTimeout: -1 });
  try {
    return await readChainFacts(provider, where, batch);
  } catch (cause) {
    if ((cause as { code?: string }).code === undefined) throw cause;
    throw new Error(`The chain does not answer at ${new URL(rpcUrl).origin}.`, { cause });
  } finally {
    provider.destroy();
  }
};
