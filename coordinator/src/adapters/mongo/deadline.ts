import type mongoose from "mongoose";

/**
 * Longer than the driver's own limits, 5 s for a server and 10 s for its answer. A call that takes longer hangs: a write
 * that filled its socket's buffer waits for a "drain" event that a closed socket never emits (mongodb 7.8,
 * Connection.writeCommand), and keeps its connection, or the server's monitor, forever.
 */
const DEADLINE_MS = 20_000;
/** A process that was paused first reads its sockets, before it takes a call for hung. */
const GRACE_MS = 1_000;

/** Calls `late` unless the returned function is called in time. */
export function startDeadline(late: () => void, deadlineMs = DEADLINE_MS): () => void {
  let timer = setTimeout(() => {
    timer = setTimeout(late, GRACE_MS).unref();
  }, deadlineMs - GRACE_MS).unref();
  return () => clearTimeout(timer);
}

/** Calls `hung` when a server's heartbeat gets neither an answer nor a failure. */
export function watchHeartbeats(client: mongoose.mongo.MongoClient, hung: () => void, deadlineMs?: number): void {
  const deadlines = new Map<string, () => void>();
  const end = ({ connectionId }: { readonly connectionId: string }) => {
    deadlines.get(connectionId)?.();
    deadlines.delete(connectionId);
  };
  client.on("serverHeartbeatStarted", (event) => {
    end(event);
    deadlines.set(event.connectionId, startDeadline(hung, deadlineMs));
  });
  client.on("serverHeartbeatSucceeded", end);
  client.on("serverHeartbeatFailed", end);
  client.on("serverClosed", ({ address }) => end({ connectionId: address }));
  client.on("topologyClosed", () => {
    for (const connectionId of [...deadlines.keys()]) end({ connectionId });
  });
}
