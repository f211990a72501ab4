import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const BUILD = fileURLToPath(new URL("../../hub/build", import.meta.url));

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".json": "application/json",
};

/** Answer of a scripted route: a JSON body, or a stream of server-sent events that stays open. */
export type Answer =
  | { readonly status?: number; readonly body?: unknown }
  | { readonly events: (send: (data: unknown) => void) => void };

export interface Call {
  readonly body: unknown;
  readonly headers: IncomingMessage["headers"];
  readonly params: readonly string[];
  readonly query: URLSearchParams;
}

export type Script = (call: Call) => Answer | Promise<Answer>;

/** A problem document as the coordinator sends it. */
export function problem(status: number, code: string, detail: string): Answer {
  return { status, body: { type: "about:blank", title: code, status, detail, code, instance: "scripted-request" } };
}

/**
 * The built hub on a *scripted* API: no coordinator and no chain, only the answers that a test scripts. It is for rare
 * situations, such as a failure in the middle; the end-to-end tests use a real network.
 */
export class ScriptedApi {
  /** By method and path; `*` stands for one segment: "GET /api/tasks/*". */
  readonly routes = new Map<string, Script>();
  /** Every call so far, as method and path. */
  readonly calls: string[] = [];
  url = "";
  #build = BUILD;
  readonly #server = createServer((request, response) => {
    this.#serve(request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });

  /** Serves the pages of `build`: those of the repository's hub unless a test has others. */
  async start(build = BUILD): Promise<void> {
    if (!existsSync(join(build, "index.html"))) throw new Error("the hub is not built: npm run build --workspace hub");
    this.#build = build;
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** Closes every connection, including event streams, as a restart of the coordinator does. */
  dropConnections(): void {
    this.#server.closeAllConnections();
  }

  on(route: string, script: Script): this {
    this.routes.set(route, script);
    return this;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "/", this.url);
    if (!pathname.startsWith("/api/") && pathname !== "/rpc") return sendFile(this.#build, pathname, response);

    const name = `${request.method} ${pathname}`;
    this.calls.push(name);
    const found = this.#find(name);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const answer = found
      ? await found.script({
          body: text ? JSON.parse(text) : undefined,
          headers: request.headers,
          params: found.params,
          query: searchParams,
        })
      : problem(404, "NOT_FOUND", `nothing is scripted for ${name}`);
    if ("events" in answer) {
      response.writeHead(200, { "content-type": "text/event-stream" });
      answer.events((data) => response.write(`data: ${JSON.stringify(data)}\n\n`));
      return;
    }
    const { status = 200, body } = answer;
    response.writeHead(status, { "content-type": status < 400 ? "application/json" : "application/problem+json" });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  }

  #find(name: string): { readonly script: Script; readonly params: string[] } | undefined {
    for (const [route, script] of this.routes) {
      const pattern = new RegExp(`^${route.replaceAll("*", "([^/]+)")}$`);
      const match = pattern.exec(name);
      if (match) return { script, params: match.slice(1) };
    }
    return undefined;
  }
}

async function sendFile(build: string, pathname: string, response: ServerResponse): Promise<void> {
  const isFile = extname(pathname) !== "";
  const file = isFile ? pathname : "/index.html";
  try {
    const content = await readFile(join(build, file));
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" }).end(content);
  } catch {
    response.writeHead(404).end();
  }
}
