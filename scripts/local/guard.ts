/** Loaded into every child of `npm start` (`node --import`): when the parent dies, however it dies, so does the child. */
const GRACE_MS = 15_000;

process.on("disconnect", () => {
  // A program that watches for it itself ends by itself; any other is asked to as Ctrl-C would. And there is a limit.
  if (process.listenerCount("disconnect") === 1) process.kill(process.pid, "SIGTERM");
  setTimeout(() => process.exit(1), GRACE_MS).unref();
});
// Listening must not keep a child alive that has nothing else to do.
process.channel?.unref();
