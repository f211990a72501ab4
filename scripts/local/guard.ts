/**
 * Loaded into every child of `npm start` (`node --import`): ends the child when the parent has ended, for whatever
 * reason.
 */
const GRACE_MS = 15_000;

process.on("disconnect", () => {
  // A program with its own listener ends on its own; any other gets a SIGTERM. After a grace period both exit.
  if (process.listenerCount("disconnect") === 1) process.kill(process.pid, "SIGTERM");
  setTimeout(() => process.exit(1), GRACE_MS).unref();
});
// The listener must not keep an idle child alive.
process.channel?.unref();
