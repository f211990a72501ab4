import fastifySwagger, { type FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import fastifySwaggerUi from "@fastify/swagger-ui";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import type { RestApp } from "./context.ts";

const DESCRIPTION = `Submit compute tasks, follow them, and verify what was credited for them.

Times are milliseconds since 1970 on the coordinator's clock, units are decimal strings, identifiers and digests are
lower-case 0x hex. Every error is a problem document (RFC 9457) with a stable \`code\`. Lists are paged by \`cursor\`.`;

const TAGS = [
  { name: "tasks", description: "Submit work and follow it" },
  { name: "nodes", description: "The machines that compute" },
  { name: "ledger", description: "Receipts and batches: what was credited, and why it is right" },
  { name: "network", description: "The network and its chain" },
  { name: "sign-in", description: "Sign-In with Ethereum" },
  { name: "operations", description: "For operators of a coordinator" },
];

type Transform = NonNullable<FastifyDynamicSwaggerOptions["transformObject"]>;

/** The page uses inline styles. The plugin's own policy would also refuse plain HTTP. */
const DOCS_POLICY = [
  "default-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "object-src 'none'",
  "base-uri 'self'",
  "frame-ancestors 'none'",
].join("; ");

/** The parts of an OpenAPI document that {@link transformObject} reads. */
interface Described {
  readonly paths?: unknown;
  readonly components?: { readonly schemas?: Readonly<Record<string, unknown>> };
}

/**
 * Makes the document read as if it had been written by hand. Every schema is registered twice, as an input ("…Input") and
 * as an output. Only schemas in use stay, and an input keeps its suffix only where it differs from the output in use.
 */
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
  const plain = (name: string) => {
    const output = name.replace(/Input$/, "");
    const differs = used.has(output) && JSON.stringify(schemas[output]) !== JSON.stringify(schemas[name]);
    return differs ? name : output;
  };
  const kept = [...used].sort().map((name) => [plain(name), schemas[name]]);
  const tidy = { ...described, components: { ...described.components, schemas: Object.fromEntries(kept) } };
  return JSON.parse(JSON.stringify(tidy), (key, value) => {
    if (key === "$ref") return (value as string).replace(/[^/]+$/, plain);
    if (value?.description === "Default Response") return { ...value, description: "Done" };
    return value;
  }) as ReturnType<Transform>;
};

/** Serves the OpenAPI document at /openapi.json, generated from the routes' schemas, and a page to try it at /docs. */
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
  await app.register(fastifySwaggerUi, {
    routePrefix: "/docs",
    staticCSP: DOCS_POLICY,
    logLevel: "warn",
    // Leaves out the bar that loads other documents.
    uiConfig: { layout: "BaseLayout" },
    theme: { title: "Proof of Compute: REST API" },
  });
  app.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger());
}
