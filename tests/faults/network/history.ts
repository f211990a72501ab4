import { appendFileSync, writeFileSync } from "node:fs";
import type { AssignmentState } from "@proof-of-compute/coordinator/domain/task";
import type { Address, Hex } from "@proof-of-compute/proto";

/**
 * The phases of an operation: it was `invoke`d, then it succeeded (`ok`), it was refused without effect (`fail`), or its
 * effect is `unknown`, because the answer was lost or says nothing about it.
 */
export type Phase = "invoke" | "ok" | "fail" | "unknown";

/** The parameters of a request. */
export interface Asked {
  readonly n: number;
  readonly k: number;
  readonly deadlineSeconds: number;
}

/** A task as a requester saw it. */
export interface Seen {
  readonly state: string;
  readonly assignments: readonly { readonly id: Hex; readonly state: AssignmentState }[];
}

/** Operations of requesters, faults, and unexpected ends of programs. */
export type Event =
  | {
      readonly type: "submit";
      readonly phase: Phase;
      readonly requester: Address;
      readonly key: string;
      readonly via: string;
      readonly asked: Asked;
      readonly taskId?: Hex;
      readonly code?: string;
    }
  | {
      readonly type: "cancel";
      readonly phase: Phase;
      readonly taskId: Hex;
      readonly via: string;
      /** The task's state in the answer. */
      readonly state?: string;
      readonly code?: string;
    }
  /** Two reads are ordered only if the first was answered before the second was asked. */
  | { readonly type: "read"; readonly taskId: Hex; readonly via: string; readonly askedAt: number; readonly seen: Seen }
  | {
      readonly type: "output";
      readonly taskId: Hex;
      readonly via: string;
      readonly digest: Hex;
      readonly valid: boolean;
    }
  | { readonly type: "fault"; readonly phase: "begin" | "end"; readonly fault: string; readonly target: string }
  | { readonly type: "program"; readonly program: string; readonly what: string }
  | { readonly type: "run"; readonly what: string };

/** An event and when it was recorded, in milliseconds of monotonic time since the run began. */
export type Entry = Event & { readonly at: number };

/** The events of a run in order, in memory and in a file of JSON Lines. */
export class History {
  readonly entries: Entry[] = [];
  readonly #file: string | undefined;
  readonly #began = performance.now();

  constructor(file?: string) {
    this.#file = file;
    if (file) writeFileSync(file, "");
  }

  /** Milliseconds since the run began. */
  now(): number {
    return Math.round(performance.now() - this.#began);
  }

  add(event: Event): void {
    const entry = { at: this.now(), ...event };
    this.entries.push(entry);
    if (this.#file) appendFileSync(this.#file, `${JSON.stringify(entry)}\n`);
  }
}
