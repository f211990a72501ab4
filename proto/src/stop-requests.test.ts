import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { onStopRequests } from "./stop-requests.ts";

/** A program that was told to stop at these times, and what it made of it. */
function told(...signals: readonly [ms: number, signal: "SIGINT" | "SIGTERM" | "SIGHUP"][]): unknown[] {
  const process = new EventEmitter();
  const heard: unknown[] = [];
  let ms = 0;
  onStopRequests(
    { onFirst: (signal) => heard.push(signal), onAgain: (exitCode) => heard.push(exitCode) },
    { process, now: () => ms },
  );
  for (const [at, signal] of signals) {
    ms = at;
    process.emit(signal, signal);
  }
  return heard;
}

test("one key press is one request, however often it arrives", () => {
  expect(told([0, "SIGINT"], [0, "SIGINT"], [3, "SIGINT"], [999, "SIGINT"])).toEqual(["SIGINT"]);
});

test("so is what a supervisor sends to a whole group, in two kinds", () => {
  expect(told([0, "SIGTERM"], [1, "SIGTERM"], [2, "SIGINT"])).toEqual(["SIGTERM"]);
});

test("a request after a second is another one, and ends the program with the code of its signal", () => {
  expect(told([0, "SIGINT"], [1_000, "SIGINT"])).toEqual(["SIGINT", 130]);
  expect(told([0, "SIGINT"], [1, "SIGINT"], [5_000, "SIGTERM"], [5_001, "SIGTERM"])).toEqual(["SIGINT", 143]);
});

test("whoever holds the key down is heard too", () => {
  const held = Array.from({ length: 12 }, (_, index): [number, "SIGINT"] => [100 * index, "SIGINT"]);
  expect(told(...held)).toEqual(["SIGINT", 130]);
});

test("other signals are no requests unless they are named", () => {
  expect(told([0, "SIGHUP"])).toEqual([]);
});
