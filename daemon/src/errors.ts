/** How the daemon's process ends, and what each code means; `--help` prints this table. */
export const EXITS = {
  CLEAN: { code: 0, meaning: "stopped as asked" },
  FAILED: { code: 1, meaning: "an unforeseen error; the last log line has it" },
  USAGE: { code: 2, meaning: "a setting is missing or wrong, such as the wallet address" },
  KEY: { code: 3, meaning: "the node key cannot be created, read or kept private" },
  REFUSED: { code: 4, meaning: "every coordinator refused this node for good, or another daemon uses its key" },
  DATA_DIR: { code: 5, meaning: "the data directory is in use by another daemon, or not writable" },
} as const;

/** Name of an exit. */
export type Exit = keyof typeof EXITS;

/** An error that ends the daemon. Its message is one line for people and says what to do. */
export class DaemonError extends Error {
  override readonly name = "DaemonError";
  readonly exit: Exit;

  constructor(exit: Exit, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exit = exit;
  }
}
