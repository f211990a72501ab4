import type { Assignment, Cancel, KindOffer, NodeFrame, ResultAck, Welcome } from "@proof-of-compute/proto/node";

/** What a node sends; see node.proto. */
export type NodeMessage = NonNullable<NodeFrame["message"]>;

/** An open session, as its users see it. */
export interface OpenSession {
  readonly welcome: Welcome;
  /** False once the stream has ended; later messages are dropped. */
  readonly open: boolean;
  /** Sends; false when the stream wants no more before {@link writable}. */
  send(message: NodeMessage): boolean;
  /** Resolves when the stream takes more, or has ended. */
  writable(): Promise<void>;
  /** Asks the coordinator for content, by its SHA-256; the pieces as they come. Throws a grpc-js ServiceError. */
  fetchBlob(sha256: Uint8Array, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

/** What does the work of a session. */
export interface SessionHandler {
  opened(session: OpenSession): void;
  closed(): void;
  assign(assignments: readonly Assignment[]): void;
  cancel(cancel: Cancel): void;
  acknowledge(acks: readonly ResultAck[]): void;
  freeSlots(): number;
  /** What the node offers of each kind now, of at most `totalSlots` slots. */
  offers(totalSlots: number): KindOffer[];
  /** Running assignments and those whose result has no verdict yet; in a session those of its network. */
  heldAssignments(): Uint8Array[];
  /** Results without a verdict; in a session those of its network. */
  readonly unacknowledged: number;
}
