import { createServer } from "node:net";
import type { HostPort } from "@proof-of-compute/coordinator/host-port";
import { quoted } from "@proof-of-compute/proto/secrets";
import { LocalError } from "./terminal.ts";

/** An address to listen on, and the flag that changes it. */
export interface Listener extends HostPort {
  readonly what: string;
  readonly flag: string;
}

/** Reads `host:port`. */
export function readAddress(text: string, what: string, flag: string): Listener {
  const match = /^(\[[0-9a-f:]+\]|[^:]+):(\d+)$/i.exec(text);
  const port = Number(match?.[2]);
  if (!match || port < 1 || port > 65_535) {
    throw new LocalError(`${flag} is ${quoted(text)}; it takes host:port, for example 127.0.0.1:3001`);
  }
  return { what, flag, host: match[1]!.replace(/^\[|\]$/g, ""), port };
}

/** The address by which this machine dials a listener. */
export function dialled({ host, port }: HostPort): HostPort {
  if (host === "0.0.0.0") return { host: "127.0.0.1", port };
  return { host: host === "::" ? "::1" : host, port };
}

/** Throws when another program uses the port; the message names the flag that helps. */
export async function requireFree({ what, flag, host, port }: Listener): Promise<void> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host, port, exclusive: true }, resolve);
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const problem = code === "EADDRINUSE" ? "is in use by another program" : `cannot be used (${code})`;
    throw new LocalError(
      `${host}:${port}, where ${what} should listen, ${problem}. Stop that program (another \`npm start\`?) or choose ` +
        `another port: npm start -- ${flag} ${host}:${port + 1}`,
    );
  } finally {
    server.close();
  }
}
