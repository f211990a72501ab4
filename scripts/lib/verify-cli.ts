import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { reasonOf } from "@proof-of-compute/proto";
import type { Kind } from "@proof-of-compute/proto/kinds";
import { refuseSecretArguments } from "@proof-of-compute/proto/secrets";
import { CommanderError } from "commander";
import { FetchRequest, JsonRpcProvider } from "ethers";

/** Exit codes: every link holds, a link is broken, a link could not be checked. */
export const EXIT = { verified: 0, broken: 1, unproven: 2 } as const;

const TIMEOUT_MS = 60_000;
const LINE_FEED = 10;
const MARKS = { ok: "ok      ", failed: "FAILED  ", unchecked: "not checked" } as const;

/** Opens a connection to a chain's JSON-RPC, without a request. */
export function connect(rpcUrl: string): JsonRpcProvider {
  const request = new FetchRequest(rpcUrl);
  request.timeout = TIMEOUT_MS;
  return new JsonRpcProvider(request, undefined, { staticNetwork: true, cacheTimeout: -1, batchMaxCount: 1 });
}

/** Prints a checked link. */
export function printLink(link: { name: string; status: keyof typeof MARKS; detail: string }): void {
  console.log(`  ${MARKS[link.status].padEnd(12)} ${link.name.padEnd(15)} ${link.detail}`);
}

/** The worse of two exit codes: broken, then unproven, then verified. */
export function worse(a: number, b: number): number {
  const rank = [EXIT.verified, EXIT.unproven, EXIT.broken];
  return rank.indexOf(a as 0) >= rank.indexOf(b as 0) ? a : b;
}

/**
 * The body of a web address, as a stream. Throws for every status but success, with the answer's reason, and when nothing
 * arrives for a minute. The reader's own time does not count.
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
  throw new Error(`${url} answered with status ${response.status}: ${problem.detail ?? response.statusText}`);
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

/**
 * Downloads the result of a task. Throws for bytes that cannot be a result of it: an incomplete download proves nothing.
 */
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
    throw new Error(`${url} does not have a result of this task: ${reasonOf(cause)}`, { cause });
  }
  return result;
}

/** The list of lines at a web address, as a stream. Throws at its end if the last line is incomplete. */
export async function* getLines(url: string): AsyncGenerator<Uint8Array> {
  let last = LINE_FEED;
  for await (const part of await get(url)) {
    last = part.at(-1) ?? last;
    yield part;
  }
  if (last !== LINE_FEED) throw new Error(`${url} broke off within a line`);
}

/** The lines of a file or of a web address, as a stream. */
export async function* linesOf(source: string): AsyncGenerator<string> {
  const input = isWeb(source) ? Readable.from(getLines(source)) : createReadStream(source);
  yield* createInterface({ input, crlfDelay: 0 });
}

/** Whether a source is a web address. If not, it is a file. */
export function isWeb(source: string): boolean {
  return /^https?:/.test(source);
}

/** Runs a program that returns its exit code. An error is printed in one line, and the exit code is 2. */
export async function runVerifier(program: () => Promise<number>): Promise<void> {
  try {
    refuseSecretArguments(process.argv.slice(2), ["--transaction"]);
    process.exitCode = await program();
  } catch (error) {
    // Commander has already printed the error or the help.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT.unproven;
    else {
      console.error(reasonOf(error));
      process.exitCode = EXIT.unproven;
    }
  }
}
