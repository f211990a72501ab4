import { access } from "node:fs/promises";
import { join } from "node:path";
import fastifyStatic from "@fastify/static";
import type { FastifyReply, FastifyRequest } from "fastify";
import { ComputeError } from "../../domain/errors.ts";
import type { RestApp } from "./context.ts";

/** Paths of the API. An unknown one gets a problem document, never a page. */
const API = /^\/(api|internal|docs|problems|healthz|readyz|metrics|openapi\.json)(\/|\?|$)/;
/** Directory of files that SvelteKit names by their hash. */
const HASHED = "/_app/immutable/";

const NOT_BUILT = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Proof of Compute</title>
<h1>The hub is not built yet</h1>
<p>The coordinator runs, and its API is at <a href="/docs">/docs</a>. To see the hub here, build it:</p>
<pre>npm run build --workspace hub</pre>
`;

/** Serves the built hub on the API's origin; every path that is not a file gets its single page. */
export async function serveHub(app: RestApp, { hubDirectory }: { readonly hubDirectory: string }): Promise<void> {
  await app.register(fastifyStatic, {
    root: hubDirectory,
    // The handler below answers pages, so a hub built while the coordinator runs is served at once.
    suppressWarning: true,
    index: ["index.html"],
    preCompressed: true,
    schemaHide: true,
    cacheControl: false,
    setHeaders: (reply, path) => {
      const hashed = path.replaceAll("\\", "/").includes(HASHED);
      reply.header("cache-control", hashed ? "public, max-age=31536000, immutable" : "no-cache");
    },
  });

  app.setNotFoundHandler({ preHandler: app.rateLimit() }, async (request: FastifyRequest, reply: FastifyReply) => {
    const isPage = (request.method === "GET" || request.method === "HEAD") && !API.test(request.url);
    const [path = ""] = request.url.split("?", 1);
    // Never a page in place of a missing file: a browser would run it as a script.
    if (!isPage || /\.[a-z0-9]+$/i.test(path)) throw new ComputeError("NOT_FOUND", `there is nothing at ${path}`);
    const built = await access(join(hubDirectory, "index.html")).then(
      () => true,
      () => false,
    );
    if (!built)
      return reply.code(503).type("text/html; charset=utf-8").header("cache-control", "no-store").send(NOT_BUILT);
    return reply.sendFile("index.html");
  });
}
