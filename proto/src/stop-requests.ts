/** Signals that ask a program to stop, and the exit code that tells of an end by each of them. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

type StopSignal = keyof typeof EXIT_CODES;

/**
 * One key press can arrive as several signals: the terminal gives Ctrl-C to every program in front, and npm passes its own on
 * to the program that it runs. A supervisor that signals a whole group does the same. What comes so soon, in milliseconds, is
 * one request.
 */
const ONE_REQUEST_MS = 1_000;

/** What a program does when it is asked to stop. */
export interface StopHandlers {
  readonly signals?: readonly StopSignal[];
  /** Asked for the first time. */
  readonly onFirst: (signal: StopSignal) => void;
  /** Asked once more, by somebody who has no patience: ends the process, with this exit code. */
  readonly onAgain?: (exitCode: number) => void;
}

/** What tells of signals, and of milliseconds that pass. */
export interface StopSources {
  readonly process: { on(signal: StopSignal, listener: (signal: StopSignal) => void): unknown };
  readonly now: () => number;
}

/** Tells signals that ask this process to stop from their repetitions. */
export function onStopRequests(
  { signals = ["SIGINT", "SIGTERM"], onFirst, onAgain = (code) => process.exit(code) }: StopHandlers,
  sources: StopSources = { process, now: () => performance.now() },
): void {
  let last: number | undefined;
  const onSignal = (signal: StopSignal) => {
    const now = sources.now();
    if (last !== undefined && now - last < ONE_REQUEST_MS) return;
    const isFirst = last === undefined;
    last = now;
    if (isFirst) onFirst(signal);
    else onAgain(EXIT_CODES[signal]);
  };
  for (const signal of signals) sources.process.on(signal, onSignal);
}
