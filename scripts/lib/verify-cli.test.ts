import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { echo } from "@proof-of-compute/tests/support/echo/protocol";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { downloadResult, get, linesOf } from "./verify-cli.ts";

/** Just below the time-out. */
const ALMOST_MS = 59_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Starts a server that answers every request with `answer`. Returns its address. */
async function serve(answer: (response: ServerResponse) => void): Promise<string> {
  const server = createServer((_, response) => answer(response));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/list`;
}

describe("a download", () => {
  test("may take longer than a minute in total", async () => {
    const sending = Promise.withResolvers<ServerResponse>();
    const url = await serve((response) => {
      response.write("1");
      sending.resolve(response);
    });
    const parts = await get(url);
    const response = await sending.promise;
    let received = "";
    for (let i = 0; i < 4; i++) {
      const part = parts.next();
      if (i > 0) {
        vi.advanceTimersByTime(ALMOST_MS);
        response.write("1");
      }
      received += Buffer.from((await part).value);
      // The reader's own time.
      vi.advanceTimersByTime(2 * ALMOST_MS);
    }
    response.end();
    expect([received, await parts.next()]).toEqual(["1111", { done: true, value: undefined }]);
  });

  test("fails when no answer arrives for a minute", async () => {
    const url = await serve(() => vi.advanceTimersByTime(2 * ALMOST_MS));
    await expect(get(url)).rejects.toThrow("does not answer");
  });

  test("fails when nothing more arrives for a minute", async () => {
    const parts = await get(await serve((response) => response.write("1")));
    await parts.next();
    const more = parts.next();
    vi.advanceTimersByTime(2 * ALMOST_MS);
    await expect(more).rejects.toThrow("broke off");
  });

  test("of a result fails unless it is as long as the result", async () => {
    const url = await serve((response) => response.end("12345"));
    const spec = (bytes: number) => ({ input: new Uint8Array(bytes) });
    expect(Buffer.from(await downloadResult(url, echo, spec(5))).toString()).toBe("12345");
    await expect(downloadResult(url, echo, spec(4))).rejects.toThrow("more than the 4 bytes");
    await expect(downloadResult(url, echo, spec(6))).rejects.toThrow("6 bytes, not 5");
  });

  test("of lines fails when the last line is incomplete", async () => {
    const read = async (text: string) => Array.fromAsync(linesOf(await serve((response) => response.end(text))));
    expect(await read("a\nb\n")).toEqual(["a", "b"]);
    expect(await read("")).toEqual([]);
    await expect(read("a\nb")).rejects.toThrow("broke off");
  });
});
