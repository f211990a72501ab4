import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ERRORS } from "@proof-of-compute/coordinator/domain/errors";
import { Metrics } from "@proof-of-compute/coordinator/services/metrics";
import { SETTINGS } from "@proof-of-compute/coordinator/settings/table";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");
const PAGE = readFileSync(join(ROOT, "docs/guides/operator.md"), "utf8");
/** Of a deployment (scripts/deploy_proof_of_compute.ts), not of a coordinator. */
const DEPLOYMENT = ["RECORDER_ADDRESS"];

test("the operator guide says of every metric what it should be, and of none that is not there", async () => {
  const declared = (await new Metrics().registry.getMetricsAsJSON()).map(({ name }) => name).sort();
  const rows = [...PAGE.matchAll(/^\| `(proof_of_compute_\w+)/gm)].map(([, name]) => name!).sort();
  expect(rows).toEqual(declared);
  const mentioned = new Set([...PAGE.matchAll(/proof_of_compute_[a-z_]+/g)].map(([name]) => name));
  expect([...mentioned].filter((name) => !declared.includes(name) && name !== "proof_of_compute_")).toEqual([]);
});

const RULES = [...PAGE.matchAll(/expr: '([^']+)'/g)].map(([, expression]) => expression!);

test("every series that an alert selects by its state is there before anything happened", async () => {
  const { body } = await new Metrics().render();
  const selected = RULES.flatMap((rule) => rule.match(/proof_of_compute_\w+\{\w+="\w+"\}/g) ?? []);
  expect(selected.length).toBeGreaterThan(3);
  expect(selected.filter((series) => !body.includes(`\n${series} `))).toEqual([]);
});

test("no alert compares a series, which has labels, with an aggregate, which has none: nothing would match", () => {
  expect(RULES.length).toBeGreaterThan(5);
  expect(RULES.filter((rule) => /^\w+(\{[^}]*\})? [<>=!]+ (count|sum|min|max|avg)\(/.test(rule))).toEqual([]);
});

test("every setting and error code that the operator guide names exists", () => {
  const known = new Set([...Object.keys(SETTINGS), ...Object.keys(ERRORS), ...DEPLOYMENT]);
  const named = [...PAGE.matchAll(/`([A-Z]+(?:_[A-Z]+)+)(?:=\w+)?`/g)].map(([, name]) => name!);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((name) => !known.has(name))).toEqual([]);
});

test("a coordinator on Apothem is shown with a data folder of its own: npm start has bound the default one", () => {
  const section = readFileSync(join(ROOT, "README.md"), "utf8")
    .split("## Deploy to XDC Apothem")[1]!
    .split("\n## ")[0]!;
  const [, folder] = /`DATA_DIR=(\S+)`/.exec(section) ?? [];
  expect(folder).not.toBe(SETTINGS.DATA_DIR.default);
  expect(readFileSync(join(ROOT, ".env.example"), "utf8")).toContain(`\n#DATA_DIR=${folder}\n`);
});

test("every page that a page links to exists", () => {
  const inDocs = readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" }).map((path) =>
    join("docs", path),
  );
  const pages = [...readdirSync(ROOT), ...inDocs].filter((path) => path.endsWith(".md"));
  expect(pages).toContain(join("docs", "guides", "operator.md"));
  const broken = pages.flatMap((page) => {
    const linked = [...readFileSync(join(ROOT, page), "utf8").matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)];
    return linked
      .map(([, path]) => path!)
      .filter((path) => !existsSync(join(ROOT, dirname(page), path)))
      .map((path) => `${page}: ${path}`);
  });
  expect(broken).toEqual([]);
});
