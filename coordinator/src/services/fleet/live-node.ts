import type { Hex, TaskKindName } from "@proof-of-compute/proto";
import type { KindOffer, Node, NodeStatus, Standing } from "../../domain/node.ts";
import type { Owner } from "../../domain/owner.ts";
import { ActiveAssignment, type ActiveAssignmentInit } from "./active-assignment.ts";
import { PAUSE_MS } from "./limits.ts";
import { NodeCapacity } from "./node-capacity.ts";
import type { NodeLink } from "./node-link.ts";
import type { Offer } from "./offer.ts";

/** What a node is blamed for: a lease that it lost, a task that failed by its own word, a result that is wrong. */
export type NodeFault = "lost" | "failed" | "rejected";

/** What a pair of node and wallet has earned. */
type Earned = Pick<Standing, "cap" | "valid" | "faults">;

/** A node that is online, or that still holds leases. */
export class LiveNode {
  readonly id: Hex;
  readonly #capacity: NodeCapacity;
  readonly #assignments = new Map<Hex, ActiveAssignment>();
  readonly #forget = (assignment: ActiveAssignment): void => void this.#assignments.delete(assignment.id);
  #offer: Offer;
  #link: NodeLink | null = null;
  #status: NodeStatus = "suspect";
  #heardAt = 0;
  #lastSeen = 0;
  #load = 0;
  #valid = 0;
  #faults = 0;
  /** Wrong results and failures since the last valid result. */
  #failedInARow = 0;
  #pausedUntil: number | undefined;
  #isDraining = false;
  #isWelcomed = false;
  #unknown: ReadonlySet<Hex> = new Set();

  /** `onCapacity` hears of every change of what the node may be given; `grew`: it is more than before. */
  constructor(offer: Offer, onCapacity: (node: LiveNode, grew: boolean) => void) {
    this.id = offer.nodeId;
    this.#capacity = new NodeCapacity((grew) => onCapacity(this, grew));
    this.#offer = offer;
    this.#takeOffer(offer);
  }

  get offer(): Offer {
    return this.#offer;
  }

  /** The way down of the live session; null without one. */
  get link(): NodeLink | null {
    return this.#link;
  }

  get status(): NodeStatus {
    return this.#status;
  }

  /** Monotonic receive time of the last frame of the live session. */
  get heardAt(): number {
    return this.#heardAt;
  }

  /** Wall clock of the same, for people. */
  get lastSeen(): number {
    return this.#lastSeen;
  }

  /** Of the machine, 0 to 1, as the node says. */
  get load(): number {
    return this.#load;
  }

  get earned(): Earned {
    return { cap: this.#capacity.cap, valid: this.#valid, faults: this.#faults };
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Whether the live session was welcomed. Before that it gets no work: its Hello did not name it, so it would count as lost. */
  get isWelcomed(): boolean {
    return this.#isWelcomed;
  }

  /** Monotonic; until then it gets no work. Undefined when it does not pause. */
  get pausedUntil(): number | undefined {
    return this.#pausedUntil;
  }

  /** Live assignments, those that are being checked included. */
  get assignments(): ReadonlyMap<Hex, ActiveAssignment> {
    return this.#assignments;
  }

  /** How many of its results are being checked. */
  get checking(): number {
    return this.#capacity.checking;
  }

  /** Assignments of any kind that it may be given now. */
  get capacity(): number {
    return this.#capacity.free;
  }

  /** Assignments of one kind that it may be given now. */
  capacityOf(kind: TaskKindName): number {
    return this.#capacity.freeOf(kind);
  }

  /** Share of its slots that its assignments take up; above 1 while results are checked. */
  get occupancy(): number {
    return this.#assignments.size / this.#offer.slots;
  }

  /** Memory of outputs that it has begun to send and whose results are not here. */
  get uploading(): number {
    let bytes = 0;
    for (const { phase, upload } of this.#assignments.values()) if (phase !== "checking") bytes += upload?.size ?? 0;
    return bytes;
  }

  /** A session begins. Returns the link of the one before, if that still lives. */
  connect(offer: Offer, link: NodeLink, earned: Earned | null): NodeLink | null {
    const before = this.#link;
    this.#link = link;
    this.#isDraining = false;
    this.#isWelcomed = false;
    this.#unknown = new Set();
    this.#reopen();
    this.#takeOffer(offer);
    this.restore(earned);
    return before;
  }

  /** Takes over what it has earned elsewhere or before. */
  restore(earned: Earned | null): void {
    this.#valid = earned?.valid ?? 0;
    this.#faults = earned?.faults ?? 0;
    this.#capacity.limit(earned?.cap ?? 1);
  }

  /** The session is complete: it may be given work. */
  welcome(): void {
    this.#isWelcomed = true;
    this.#reopen();
  }

  /** The session ended. */
  disconnect(): void {
    this.#link = null;
    this.#reopen();
  }

  /** A sign of life; the times are of the monotonic and of the wall clock. */
  hear(monotonic: number, now: number): void {
    this.#heardAt = monotonic;
    this.#lastSeen = now;
  }

  /** Time in which the coordinator itself stood still does not count as silence. */
  forgive(ms: number, now: number): void {
    this.#heardAt = Math.min(now, this.#heardAt + ms);
  }

  setStatus(status: NodeStatus): void {
    this.#status = status;
    this.#reopen();
  }

  /** It takes no more work. */
  drain(): void {
    this.#isDraining = true;
    this.#reopen();
  }

  report(load: number): void {
    this.#load = load;
  }

  /** Replaces what it offers of each kind. */
  reoffer(offers: readonly KindOffer[]): void {
    this.#takeOffer({ ...this.#offer, offers });
  }

  /** Notes which assignments a heartbeat listed that are not known here; returns those that the one before listed as well. */
  noteUnknown(unknown: ReadonlySet<Hex>): Hex[] {
    const again = [...unknown].filter((id) => this.#unknown.has(id));
    this.#unknown = unknown;
    return again;
  }

  /** A checked result: the cap doubles. */
  credit(): void {
    this.#valid++;
    this.#failedInARow = 0;
    this.#capacity.limit(this.#capacity.cap * 2);
  }

  /** The cap is 1 again. After a wrong result or a failure it pauses, twice as long each time until a result is right. */
  blame(fault: NodeFault, now: number): void {
    this.#faults++;
    this.#capacity.limit(1);
    if (fault === "lost") return;
    const pause = Math.min(PAUSE_MS.longest, PAUSE_MS.first * 2 ** Math.min(this.#failedInARow++, 20));
    this.#pausedUntil = now + pause;
    this.#reopen();
  }

  /** Ends a pause whose time is over. */
  endPause(now: number): void {
    if (this.#pausedUntil === undefined || this.#pausedUntil > now) return;
    this.#pausedUntil = undefined;
    this.#reopen();
  }

  /** Gives it the task's live assignment, which takes up its capacity from now on. */
  begin(init: ActiveAssignmentInit): ActiveAssignment {
    const assignment = new ActiveAssignment({ node: this, capacity: this.#capacity, forget: this.#forget }, init);
    this.#assignments.set(assignment.id, assignment);
    return assignment;
  }

  /** The node as it is stored. */
  toNode(owner: Owner): Node {
    const { wallet, hardware, slots, offers, version, confirmed } = this.#offer;
    const presence = { status: this.#status, lastSeen: this.#lastSeen, owner };
    return { id: this.id, wallet, ...presence, hardware, slots, offers, version, confirmed };
  }

  #takeOffer(offer: Offer): void {
    this.#offer = offer;
    this.#capacity.offer(offer.slots, new Map(offer.offers.map(({ kind, slots }) => [kind, slots])));
  }

  #reopen(): void {
    const isHere = this.#link !== null && this.#isWelcomed && this.#status === "online";
    this.#capacity.setOpen(isHere && !this.#isDraining && this.#pausedUntil === undefined);
  }
}
