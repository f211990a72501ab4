/** Loaded into every child of `npm start` (`node --import`): when the parent dies, however it dies, so does the child. */
const GRACE_MS = 15_000;

process.on("disconnect", () => {
  // As Ctrl-C would: the child's own handler gets the chance to end well, and a limit.
  setTimeout(() => process.exit(1), GRACE_MS).unref();
  process.kill(process.pid, "SIGTERM");
});
// Listening must not keep a child alive that has nothing else to do.
process.channel?.unref();
