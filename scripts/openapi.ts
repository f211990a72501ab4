// `node scripts/openapi.ts`: generates the files that follow from REST schemas, errors and settings, so that documents
// and the hub's client always agree with the server. A test keeps the files current.
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { systemClock } from "@proof-of-compute/coordinator/clock";
import { ERRORS, type ErrorCode } from "@proof-of-compute/coordinator/errors";
import { KINDS } from "@proof-of-compute/coordinator/kinds";
import { createRest, type RestComponents, STATUS } from "@proof-of-compute/coordinator/rest";
import { receiptSchema } from "@proof-of-compute/proto/verify";
import openapiTS, { astToString, COMMENT_HEADER, type OpenAPI3 } from "openapi-typescript";
import { pino } from "pino";
import { renderConfiguration } from "./lib/configuration-page.ts";

const ROOT = path.resolve(import.meta.dirname, "..");

/**
 * The OpenAPI document of the REST API. Its routes are only declared, never called, so most components can be missing.
 */
async function describe(): Promise<OpenAPI3> {
  const manifest = await readFile(path.join(ROOT, "coordinator/package.json"), "utf8");
  const logger = pino({ level: "silent" });
  const components = { kinds: KINDS, logger, clock: systemClock } as unknown as RestComponents;
  const app = await createRest(components, {
    address: { host: "127.0.0.1", port: 3000 },
    trustProxy: 0,
    publicOrigins: [],
    sessionSecret: Buffer.alloc(32),
    hubDirectory: path.join(ROOT, "hub/build"),
    network: { name: "none" },
    grpcAddress: "127.0.0.1:50051",
    version: (JSON.parse(manifest) as { version: string }).version,
    defaultDeadlineMs: 0,
  });
  await app.ready();
  const document = app.swagger() as unknown as OpenAPI3;
  await app.close();
  return document;
}

function renderErrors(): string {
  const rows = (Object.keys(ERRORS) as ErrorCode[]).map(
    (code) => `| <a id="${code.toLowerCase()}"></a>\`${code}\` | ${STATUS[code]} | ${ERRORS[code]} |`,
  );
  return `# Error codes

\`node scripts/openapi.ts\` makes this page from \`coordinator/src/domain/errors.ts\`; change it there.

Over REST every error is a problem document (RFC 9457): \`code\` is the code, \`status\` the status below, \`detail\` what went
wrong this time, and \`instance\` the request's id, under which the coordinator's log has more. On the node stream the code
stands in the metadata \`proof-of-compute-error\` of the closing status ([protocol.md](protocol.md)).

| code | HTTP status | what it means and what to do |
| --- | --- | --- |
${rows.join("\n")}
`;
}

/** Every generated file with its content, by path from the root. */
export async function generate(): Promise<Record<string, string>> {
  const document = await describe();
  const types = await openapiTS(document, { defaultNonNullable: false });
  return {
    "docs/reference/openapi.json": `${JSON.stringify(document, null, 2)}\n`,
    "docs/reference/errors.md": renderErrors(),
    "docs/reference/receipt.schema.json": `${JSON.stringify(receiptSchema(), null, 2)}\n`,
    "docs/reference/configuration.md": renderConfiguration(),
    "hub/src/lib/api/schema.d.ts": COMMENT_HEADER + astToString(types),
  };
}

if (import.meta.main) {
  for (const [file, content] of Object.entries(await generate())) {
    await writeFile(path.join(ROOT, file), content);
    console.log(`wrote ${file}`);
  }
}
