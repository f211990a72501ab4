import type { TaskKindName } from "@proof-of-compute/proto";

/** Hears of every change of a capacity; `grew`: more may be given than before. */
export type CapacityListener = (grew: boolean) => void;

/**
 * How many assignments a node may be given. An assignment is reserved, is checked once its result is here, and is released.
 * Until its check it takes one slot of its kind and one of the node's. All assignments together, those being checked
 * included, stay within the cap, which grows to twice the slots: a proven node computes while its last results are checked.
 */
export class NodeCapacity {
  readonly #onChange: CapacityListener;
  #slots = 0;
  #slotsOf: ReadonlyMap<TaskKindName, number> = new Map();
  #cap = 1;
  #isOpen = false;
  /** Assignments in slots, in all and by kind. */
  #computing = 0;
  readonly #computingOf = new Map<TaskKindName, number>();
  #checking = 0;

  constructor(onChange: CapacityListener) {
    this.#onChange = onChange;
  }

  /** Assignments of any kind that the node may be given now. */
  get free(): number {
    if (!this.#isOpen) return 0;
    const free = Math.min(this.#slots - this.#computing, this.#cap - this.#computing - this.#checking);
    if (free <= 0) return 0;
    let ofKinds = 0;
    for (const kind of this.#slotsOf.keys()) ofKinds += this.#unused(kind);
    return Math.min(free, ofKinds);
  }

  /** Assignments of one kind that the node may be given now. */
  freeOf(kind: TaskKindName): number {
    return Math.min(this.free, this.#unused(kind));
  }

  get cap(): number {
    return this.#cap;
  }

  get checking(): number {
    return this.#checking;
  }

  /** What the node offers from now on, of all kinds together and of each kind. */
  offer(slots: number, slotsOf: ReadonlyMap<TaskKindName, number>): void {
    this.#slots = slots;
    this.#slotsOf = slotsOf;
    this.#onChange(true);
  }

  /** Sets how many assignments the node may hold at once; never more than twice its slots. */
  limit(cap: number): void {
    const before = this.#cap;
    this.#cap = Math.min(cap, 2 * this.#slots);
    if (this.#cap !== before) this.#onChange(this.#cap > before);
  }

  /** While it is closed the node is given nothing. */
  setOpen(isOpen: boolean): void {
    if (isOpen === this.#isOpen) return;
    this.#isOpen = isOpen;
    this.#onChange(isOpen);
  }

  reserve(kind: TaskKindName): void {
    this.#compute(kind, 1);
    this.#onChange(false);
  }

  /** The result of an assignment is here: its slot is free. */
  startCheck(kind: TaskKindName): void {
    this.#compute(kind, -1);
    this.#checking++;
    this.#onChange(true);
  }

  /** An assignment that was not being checked is over. */
  release(kind: TaskKindName): void {
    this.#compute(kind, -1);
    this.#onChange(true);
  }

  /** An assignment that was being checked is over. */
  endCheck(): void {
    this.#checking--;
    this.#onChange(true);
  }

  #unused(kind: TaskKindName): number {
    return Math.max(0, (this.#slotsOf.get(kind) ?? 0) - (this.#computingOf.get(kind) ?? 0));
  }

  #compute(kind: TaskKindName, change: 1 | -1): void {
    this.#computing += change;
    this.#computingOf.set(kind, (this.#computingOf.get(kind) ?? 0) + change);
  }
}
