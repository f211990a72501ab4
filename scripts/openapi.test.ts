import { readFile } from "node:fs/promises";
import { ERRORS } from "@proof-of-compute/coordinator/errors";
import { expect, test } from "vitest";
import { generate } from "./openapi.ts";

const generated = await generate();

test.each(Object.keys(generated))("%s is current; if not, run `node scripts/openapi.ts`", async (file) => {
  expect(await readFile(new URL(`../${file}`, import.meta.url), "utf8")).toBe(generated[file]);
});

test.each(Object.keys(ERRORS))("docs/reference/errors.md has an entry for %s", (code) => {
  expect(generated["docs/reference/errors.md"]).toContain(`<a id="${code.toLowerCase()}"></a>\`${code}\``);
});

interface Operation {
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly responses: Record<string, unknown>;
}

test("every operation of the document has a summary and its errors", () => {
  const { paths } = JSON.parse(generated["docs/reference/openapi.json"]!) as {
    paths: Record<string, Record<string, Operation>>;
  };
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, ...operation })),
  );
  expect(operations.length).toBeGreaterThan(20);
  expect(operations.filter(({ summary, tags }) => !summary || !tags?.length)).toEqual([]);
  const withoutErrors = operations.filter(({ responses }) => !("default" in responses)).map(({ name }) => name);
  expect(withoutErrors.sort()).toEqual(["get /healthz", "get /readyz"]);
});

test("every reference of the document resolves, and every schema is used", () => {
  const text = generated["docs/reference/openapi.json"]!;
  const { schemas } = (JSON.parse(text) as { components: { schemas: object } }).components;
  const used = new Set([...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name));
  expect([...used].sort()).toEqual(Object.keys(schemas).sort());
});
