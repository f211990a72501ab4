import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { reasonOf } from "@proof-of-compute/proto";
import type { Kind } from "@proof-of-compute/proto/kinds";
import { CommanderError } from "commander";
import { FetchRequest, JsonRpcProvider } from "ethers";

/** What a check came to, as exit code: everything holds, something does not, something could not be checked. */
export const EXIT = { verified: 0, broken: 1, unproven: 2 } as const;

const TIMEOUT_MS = 60_000;
const LINE_FEED = 10;
const MARKS = { ok: "ok      ", failed: "FAILED  ", unchecked: "not checked" } as const;

/** Connects to a chain's JSON-RPC; nothing is asked yet. */
export function connect(rpcUrl: string): JsonRpcProvider {
  const request = new FetchRequest(rpcUrl);
  request.timeout = TIMEOUT_MS;
  return new JsonRpcProvider(request, undefined, { staticNetwork: true, cacheTimeout: -1, batchMaxCount: 1 });
}

/** Prints a link as it was checked. */
export function printLink(link: { name: string; status: keyof typeof MARKS; detail: string }): void {
  console.log(`  ${MARKS[link.status].padEnd(12)} ${link.name.padEnd(15)} ${link.detail}`);
}

/** The larger of exit codes: broken outweighs unproven, unproven outweighs verified. */
export function worse(a: number, b: number): number {
  const rank = [EXIT.verified, EXIT.unproven, EXIT.broken];
  return rank.indexOf(a as 0) >= rank.indexOf(b as 0) ? a : b;
}

/**
 * The body of a web address, as it comes. Throws, saying what was answered, for everything but 200; and when nothing comes
 * for a minute, in which the reader's own time does not count.
 */
export async function get(url: string): Promise<AsyncGenerator<Uint8Array>> {
  const silence = new AbortController();
  const patience = () => setTimeout(() => silence.abort(), TIMEOUT_MS);
  const timer = patience();
  let response: Response;
  try {
    response = await fetch(url, { signal: silence.signal });
  } catch (cause) {
    throw new Error(`${new URL(url).origin} does not answer`, { cause });
  } finally {
    clearTimeout(timer);
  }
  if (response.ok) return partsOf(url, response, patience);
  const problem = (await response.json().catch(() => ({}))) as { detail?: string };
  throw new Error(`${url} was answered with ${response.status}: ${problem.detail ?? response.statusText}`);
}

async function* partsOf(url: string, response: Response, patience: () => NodeJS.Timeout): AsyncGenerator<Uint8Array> {
  let timer = patience();
  try {
    for await (const part of response.body!) {
      clearTimeout(timer);
      yield part;
      timer = patience();
    }
  } catch (cause) {
    throw new Error(`${url} broke off`, { cause });
  } finally {
    clearTimeout(timer);
  }
}

/** The result of a task, from a web address. Throws when what comes cannot be a result of that task: it says nothing. */
export async function downloadResult<Spec>(url: string, kind: Kind<Spec>, spec: Spec): Promise<Uint8Array> {
  const { maxOutputBytes } = kind.bounds(spec);
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of await get(url)) {
    length += part.length;
    if (length > maxOutputBytes) throw new Error(`${url} has more than the ${maxOutputBytes} bytes of a result`);
    parts.push(part);
  }
  const result = Buffer.concat(parts);
  try {
    kind.units(spec, result);
  } catch (cause) {
    throw new Error(`${url} has no result of this task: ${reasonOf(cause)}`, { cause });
  }
  return result;
}

/** A web address's list of lines, as it comes; throws at its end unless the last line is whole. */
export async function* getLines(url: string): AsyncGenerator<Uint8Array> {
  let last = LINE_FEED;
  for await (const part of await get(url)) {
    last = part.at(-1) ?? last;
    yield part;
  }
  if (last !== LINE_FEED) throw new Error(`${url} broke off within a line`);
}

/** Lines of a file or of a web address, as they come. */
export async function* linesOf(source: string): AsyncGenerator<string> {
  const input = isWeb(source) ? Readable.from(getLines(source)) : createReadStream(source);
  yield* createInterface({ input, crlfDelay: 0 });
}

/** Whether a source is a web address, else it is a file. */
export function isWeb(source: string): boolean {
  return /^https?:/.test(source);
}

/** Runs a program whose return value is its exit code; what it throws is printed in a line and makes 2. */
export async function runVerifier(program: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await program();
  } catch (error) {
    // Commander has said what is wrong, or shown its help.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT.unproven;
    else {
      console.error(reasonOf(error));
      process.exitCode = EXIT.unproven;
    }
  }
}
