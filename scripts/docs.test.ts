import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { ERRORS } from "@proof-of-compute/coordinator/errors";
import { Metrics } from "@proof-of-compute/coordinator/metrics";
import { SETTINGS } from "@proof-of-compute/coordinator/settings";
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

/** Constants that a page names: settings, error codes, failures, reasons. */
function constantsOf(page: string): string[] {
  return [...page.matchAll(/`([A-Z]+(?:_[A-Z]+)+)(?:=\w+)?`/g)].map(([, name]) => name!);
}

test("every setting and error code that the operator guide names exists", () => {
  const known = new Set([...Object.keys(SETTINGS), ...Object.keys(ERRORS), ...DEPLOYMENT]);
  expect(constantsOf(PAGE).length).toBeGreaterThan(20);
  expect(constantsOf(PAGE).filter((name) => !known.has(name))).toEqual([]);
});

test.each(["provider", "requester", "node-author"])("every constant that the %s guide names exists", (guide) => {
  const sources = [
    "proto/proofofcompute/node/v1/node.proto",
    "docs/reference/protocol.md",
    "coordinator/src/domain/task.ts",
  ];
  const known = new Set([
    ...[...Object.keys(SETTINGS), ...Object.keys(ERRORS)],
    ...sources.flatMap((file) => readFileSync(join(ROOT, file), "utf8").match(/[A-Z]+(?:_[A-Z]+)+/g)!),
  ]);
  const page = readFileSync(join(ROOT, `docs/guides/${guide}.md`), "utf8");
  expect(constantsOf(page).length).toBeGreaterThan(0);
  expect(constantsOf(page).filter((name) => !known.has(name))).toEqual([]);
});

test("every log line that the operator guide quotes is one that a coordinator writes", () => {
  const source = readdirSync(join(ROOT, "coordinator/src"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
    .map((path) => readFileSync(join(ROOT, "coordinator/src", path), "utf8"))
    .join("\n");
  const quoted = [...PAGE.matchAll(/(?:logs|level 40|and) "([^"]+)"/g)].map(([, line]) => line!.replace("\n", " "));
  expect(quoted).toEqual(["peer coordinator joined", "settlement waiting", "settlement running with a warning"]);
  expect(quoted.filter((line) => !source.includes(`"${line}"`))).toEqual([]);
});

test("a coordinator on Apothem is shown with a data folder of its own: npm start has bound the default one", () => {
  const section = readFileSync(join(ROOT, "README.md"), "utf8")
    .split("## Deploy to XDC Apothem")[1]!
    .split("\n## ")[0]!;
  const [, folder] = /`DATA_DIR=(\S+)`/.exec(section) ?? [];
  expect(folder).not.toBe(SETTINGS.DATA_DIR.default);
  expect(readFileSync(join(ROOT, ".env.example"), "utf8")).toContain(`\n#DATA_DIR=${folder}\n`);
});

/** Every page of the repository, by path from the root. */
const PAGES = readdirSync(ROOT).flatMap((entry) => {
  if (entry.endsWith(".md")) return [entry];
  const isOurs = entry !== "node_modules" && (!entry.startsWith(".") || entry === ".changeset");
  if (!isOurs || !statSync(join(ROOT, entry)).isDirectory()) return [];
  return readdirSync(join(ROOT, entry), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".md") && !path.includes("node_modules"))
    .map((path) => join(entry, path));
});

/** Anchors of a page as GitHub makes them from its headings, and those that it names itself. */
function anchorsOf(page: string): Set<string> {
  const headings = [...page.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
  return new Set([...headings, ...[...page.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id!)]);
}

test("every page, and every heading, that a page links to exists", () => {
  expect(PAGES).toContain(join("docs", "guides", "operator.md"));
  const read = (path: string) => readFileSync(join(ROOT, path), "utf8");
  const broken = PAGES.flatMap((page) => {
    const links = [...read(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)];
    return links
      .filter(([, path, anchor]) => {
        const target = path ? join(dirname(page), path) : page;
        if (!existsSync(join(ROOT, target))) return true;
        return anchor !== undefined && target.endsWith(".md") && !anchorsOf(read(target)).has(anchor);
      })
      .map(([, path, anchor]) => `${page}: ${path}${anchor ? `#${anchor}` : ""}`);
  });
  expect(broken).toEqual([]);
});

test("every page that code or a proto file names exists", () => {
  const folders = ["proto/src", "proto/proofofcompute", "coordinator/src", "daemon/src", "hub/src", "scripts", "tests"];
  const named = folders.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      // Proto files among the fixtures are those of the version before.
      .filter((path) => /\.(ts|svelte|proto)$/.test(path) && !/node_modules|fixtures/.test(path))
      .flatMap((path) => {
        const pages = readFileSync(join(ROOT, folder, path), "utf8").matchAll(/docs\/[\w/-]+\.(?:md|json)\b/g);
        return [...pages].map(([page]) => ({ page, by: join(folder, path) }));
      }),
  );
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter(({ page }) => !existsSync(join(ROOT, page)))).toEqual([]);
});

test("the index names every page of docs/", () => {
  const index = readFileSync(join(ROOT, "docs/README.md"), "utf8");
  const missing = ["guides", "reference", "."].flatMap((folder) =>
    readdirSync(join(ROOT, "docs", folder))
      .filter((name) => /\.(md|json)$/.test(name) && name !== "README.md")
      .map((name) => (folder === "." ? name : `${folder}/${name}`))
      .filter((path) => !index.includes(`](${path})`)),
  );
  expect(missing).toEqual([]);
});

test.each([
  ["coordinator", "src"],
  ["coordinator", "src/services"],
  ["hub", "src/lib"],
  ["tests", "."],
])("the README of %s names every room of %s", (workspace, folder) => {
  const readme = readFileSync(join(ROOT, workspace, "README.md"), "utf8");
  const prefix = folder.replace(/^(src|\.)\/?/, "");
  const rooms = readdirSync(join(ROOT, workspace, folder), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !/^(node_modules|\..*|screenshots)$/.test(entry.name))
    .map(({ name }) => (prefix ? `${prefix}/${name}` : name));
  expect(rooms.length).toBeGreaterThan(3);
  expect(rooms.filter((room) => !readme.includes(`\`${room}/`))).toEqual([]);
});

test("the README of scripts names every script", () => {
  const readme = readFileSync(join(ROOT, "scripts/README.md"), "utf8");
  const scripts = readdirSync(join(ROOT, "scripts")).filter((name) => /(?<!\.test)\.(ts|mjs)$/.test(name));
  expect(scripts.filter((name) => !readme.includes(`\`${name}\``))).toEqual([]);
});

/** Code blocks of a page that say which file they are from: their first line is "```ts file=path". */
function excerptsOf(page: string): { file: string; parts: string[] }[] {
  return [...page.matchAll(/^```\w+ file=(\S+)\n([\s\S]*?)^```$/gm)].map(([, file, code]) => ({
    file: file!,
    // A comment of three dots stands for what the page leaves out.
    parts: code!.split(/^ *\/\/ …\n/m),
  }));
}

test("every excerpt of code on a page stands in the file that it names, in that order", () => {
  const excerpts = PAGES.flatMap((page) =>
    excerptsOf(readFileSync(join(ROOT, page), "utf8")).map((excerpt) => ({ page, ...excerpt })),
  );
  expect(excerpts.length).toBeGreaterThan(7);
  for (const { page, file, parts } of excerpts) {
    let rest = readFileSync(join(ROOT, file), "utf8");
    for (const part of parts) {
      const at = rest.indexOf(part);
      expect(at, `${page} shows what ${file} does not have:\n${part}`).toBeGreaterThanOrEqual(0);
      rest = rest.slice(at + part.length);
    }
  }
});
