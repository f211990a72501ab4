/** How the daemon's process ends, and what each code means; `--help` prints this table. */
export const EXITS = {
  CLEAN: { code: 0, meaning: "stopped as asked" },
  FAILED: { code: 1, meaning: "something unforeseen; the last log line says what" },
  USAGE: { code: 2, meaning: "a setting is missing or wrong, the wallet address included" },
  KEY: { code: 3, meaning: "the node key cannot be made, read or kept private" },
  REFUSED: { code: 4, meaning: "every coordinator refused this node for good, or its key runs elsewhere" },
  DATA_DIR: { code: 5, meaning: "the data directory is in use by another daemon or not writable" },
} as const;

/** Name of a way to end. */
export type Exit = keyof typeof EXITS;

/** An error that ends the daemon. `message` is one line for people and says what to do. */
export class DaemonError extends Error {
  override readonly name = "DaemonError";
  readonly exit: Exit;

  constructor(exit: Exit, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exit = exit;
  }
}
