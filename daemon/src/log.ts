import { Writable } from "node:stream";
import { type Logger, pino, stdSerializers } from "pino";
import { prettyFactory } from "pino-pretty";
import type { Terminal } from "./status.ts";

/**
 * The log of the process, on standard output: JSON lines, or lines for people, which go above the terminal's live block
 * if there is one. Lines are written synchronously, so that none is lost when the process ends.
 */
export function createLogger(
  options: { readonly log: "pretty" | "json"; readonly logLevel: string },
  terminal: Terminal | undefined,
): Logger {
  const settings = { level: options.logLevel, base: null, serializers: { error: stdSerializers.err } };
  if (options.log === "json") return pino(settings, pino.destination({ dest: 1, sync: true }));
  const pretty = prettyFactory({
    colorize: process.stdout.isTTY && process.stdout.hasColors(),
    translateTime: "SYS:HH:MM:ss",
    errorLikeObjectKeys: ["error"],
    singleLine: true,
  });
  const plain = pino.destination({ dest: 1, sync: true });
  const print = terminal
    ? (text: string) => terminal.update.persist(text.trimEnd())
    : (text: string) => plain.write(text);
  return pino(
    settings,
    new Writable({
      decodeStrings: false,
      write: (line, _encoding, done) => {
        print(pretty(line));
        done();
      },
    }),
  );
}
