import { access } from "node:fs/promises";
import { join } from "node:path";
import fastifyStatic from "@fastify/static";
import type { FastifyReply, FastifyRequest } from "fastify";
import { ComputeError } from "../../domain/errors.ts";
import type { RestApp } from "./context.ts";

/** Paths that belong to the API: what is not there is a problem document, never a page. */
const API = /^\/(api|internal|docs|problems|healthz|readyz|metrics|openapi\.json)(\/|\?|$)/;
/** Files whose name carries their hash, as SvelteKit writes them. */
const HASHED = "/_app/immutable/";

const NOT_BUILT = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Proof of Compute</title>
<h1>The hub is not built yet</h1>
<p>The coordinator runs, and its API is at <a href="/docs">/docs</a>. To see the hub here, build it:</p>
<pre>npm run build --workspace hub</pre>
`;

/** Serves the built hub on the same origin, with its page for every path that a page may have. */
export async function serveHub(app: RestApp, { hubDirectory }: { readonly hubDirectory: string }): Promise<void> {
  await app.register(fastifyStatic, {
    root: hubDirectory,
    // Pages are answered below, so that a hub that is built while the coordinator runs shows at once.
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
    // A missing file must not turn into a page: a browser would run it as a script.
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
