import type { Claim } from "@proof-of-compute/proto/kinds";
import { type MatmulSpec, matmulUnits } from "@proof-of-compute/proto/kinds/matmul";
import type { Checker, CheckPool, Judgement } from "../kind.ts";
import type { Refusal } from "./check.worker.ts";
import { type PackedClaims, packClaims } from "./packed-claims.ts";

const WORKER = new URL("./check.worker.ts", import.meta.url);
/** Small results that travel to a worker in one message, because the message costs more than their check. */
const GROUP = 32;
/** A result with a larger output, in bytes, travels alone. */
const LARGE = 65_536;

interface Waiting {
  readonly claim: Claim<MatmulSpec>;
  readonly resolve: (judgement: Judgement) => void;
  readonly reject: (error: Error) => void;
}

/** Freivalds' check in the pool's threads. The results of one event-loop turn are spread over the threads in groups. */
export class MatmulChecker implements Checker<MatmulSpec> {
  readonly #pool: CheckPool;
  #waiting: Waiting[] = [];

  constructor(pool: CheckPool) {
    this.#pool = pool;
  }

  judge(claim: Claim<MatmulSpec>): Promise<Judgement> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ claim, resolve, reject }) === 1) setImmediate(() => this.#dispatch());
    });
  }

  #dispatch(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const small = waiting.filter(({ claim }) => claim.output.length <= LARGE);
    const size = Math.min(GROUP, Math.max(1, Math.ceil(small.length / this.#pool.threads)));
    for (let i = 0; i < small.length; i += size) this.#send(small.slice(i, i + size));
    for (const one of waiting) if (one.claim.output.length > LARGE) this.#send([one]);
  }

  #send(group: readonly Waiting[]): void {
    const packed = packClaims(group.map(({ claim }) => claim));
    this.#pool.run<PackedClaims, Refusal[]>(WORKER, packed, [packed.bytes.buffer]).then(
      (refusals) => {
        for (const [index, { claim, resolve }] of group.entries()) {
          const refusal = refusals[index];
          if (refusal) resolve({ outcome: "rejected", reason: refusal });
          else resolve({ outcome: "accepted", units: matmulUnits(claim.spec.n, claim.spec.k) });
        }
      },
      (error: Error) => {
        for (const { reject } of group) reject(error);
      },
    );
  }
}
