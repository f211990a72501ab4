import fastifySwagger, { type FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import fastifySwaggerUi from "@fastify/swagger-ui";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import type { RestApp } from "./context.ts";

const DESCRIPTION = `Ask for compute tasks, follow them, and check what was credited for them.

Times are milliseconds since 1970 on the coordinator's clock, units are decimal strings, identifiers and digests are
lower-case 0x hex. Every error is a problem document (RFC 9457) with a stable \`code\`. Lists are paged by \`cursor\`.`;

const TAGS = [
  { name: "tasks", description: "Ask for work and follow it" },
  { name: "nodes", description: "Who computes" },
  { name: "ledger", description: "Receipts and batches: what was credited, and why it can be believed" },
  { name: "network", description: "The network and its chain" },
  { name: "sign-in", description: "Sign-In with Ethereum" },
  { name: "operations", description: "For those who run a coordinator" },
];

type Transform = NonNullable<FastifyDynamicSwaggerOptions["transformObject"]>;

/** The parts of an OpenAPI document that are looked at here. */
interface Described {
  readonly paths?: unknown;
  readonly components?: { readonly schemas?: Readonly<Record<string, unknown>> };
}

/** Leaves out the schemas that nothing refers to: every one is registered both as an input and as an output. */
const transformObject: Transform = (document) => {
  const described = jsonSchemaTransformObject(document) as Described;
  const schemas = described.components?.schemas ?? {};
  const used = new Set<string>();
  const visit = (part: unknown): void => {
    for (const [, name] of JSON.stringify(part ?? {}).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (used.has(name!)) continue;
      used.add(name!);
      visit(schemas[name!]);
    }
  };
  visit(described.paths);
  const kept = Object.fromEntries(Object.entries(schemas).filter(([name]) => used.has(name)));
  return { ...described, components: { ...described.components, schemas: kept } } as ReturnType<Transform>;
};

/** Serves the OpenAPI document at /openapi.json, made from the routes' schemas, and a page to try it at /docs. */
export async function describeApi(app: RestApp, { version }: { readonly version: string }): Promise<void> {
  await app.register(fastifySwagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Proof of Compute", version, description: DESCRIPTION, license: { name: "MIT" } },
      tags: TAGS,
      components: { securitySchemes: { session: { type: "apiKey", in: "cookie", name: "poc_session" } } },
    },
    transform: jsonSchemaTransform,
    transformObject,
  });
  await app.register(fastifySwaggerUi, { routePrefix: "/docs", staticCSP: true, logLevel: "warn" });
  app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger());
}
