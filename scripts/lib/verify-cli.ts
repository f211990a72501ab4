import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { CommanderError } from "commander";
import { FetchRequest, JsonRpcProvider } from "ethers";

/** What a check came to, as exit code: everything holds, something does not, something could not be checked. */
export const EXIT = { verified: 0, broken: 1, unproven: 2 } as const;

const TIMEOUT_MS = 60_000;
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

/** Gets a web address; throws, saying what it answered, for everything but 200. */
export async function get(url: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (cause) {
    throw new Error(`${new URL(url).origin} does not answer`, { cause });
  }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({}))) as { detail?: string };
  throw new Error(`${url} was answered with ${response.status}: ${problem.detail ?? response.statusText}`);
}

/** The body of a web address, refused once it is longer than `limit` bytes. */
export async function download(url: string, limit: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of (await get(url)).body!) {
    length += part.length;
    if (length > limit) throw new Error(`${url} has more than the ${limit} bytes of a result`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Lines of a file or of a web address, as they come. */
export async function* linesOf(source: string): AsyncGenerator<string> {
  const input = /^https?:/.test(source)
    ? Readable.fromWeb((await get(source)).body as Parameters<typeof Readable.fromWeb>[0])
    : createReadStream(source);
  yield* createInterface({ input, crlfDelay: 0 });
}

/** Runs a program whose return value is its exit code; what it throws is printed in a line and makes 2. */
export async function runVerifier(program: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await program();
  } catch (error) {
    // Commander has said what is wrong, or shown its help.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : EXIT.unproven;
    else {
      console.error(error instanceof Error ? error.message : error);
      process.exitCode = EXIT.unproven;
    }
  }
}
