import type mongoose from "mongoose";

/**
 * Longer than the driver's own limits: 5 s for a server and 10 s for its answer. Beyond it the driver does not wait, it
 * hangs: a write that filled its socket's buffer waits for a "drain" that never comes once the socket is gone (mongodb
 * 7.8, Connection.writeCommand), and holds its connection, or the server's monitor, for ever.
 */
const DEADLINE_MS = 20_000;
/** A process that was stopped reads first what lies in its sockets, before it calls anything late. */
const GRACE_MS = 1_000;

/** Calls `late` unless the returned function is called in time. */
export function startDeadline(late: () => void, deadlineMs = DEADLINE_MS): () => void {
  let timer = setTimeout(() => {
    timer = setTimeout(late, GRACE_MS).unref();
  }, deadlineMs - GRACE_MS).unref();
  return () => clearTimeout(timer);
}

/** Calls `hung` when a server was asked whether it is well, and neither an answer nor a failure came. */
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
