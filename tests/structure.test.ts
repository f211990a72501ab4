import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";
import { cruise, type ICruiseResult, type IModule } from "dependency-cruiser";
import { beforeAll, describe, expect, test } from "vitest";
import { RULES } from "./structure-rules.ts";

const ROOT = join(import.meta.dirname, "..");
const FOLDERS = ["proto/src", "coordinator/src", "daemon/src", "scripts", "bench", "tests"];
const WORKSPACES = ["proto", "coordinator", "daemon", "hub", "tests"];

let result: ICruiseResult;
let imports: readonly { readonly from: string; readonly module: string; readonly resolved: string }[];

beforeAll(async () => {
  const { output } = await cruise(
    FOLDERS,
    {
      baseDir: ROOT,
      validate: true,
      ruleSet: { forbidden: [...RULES] },
      tsPreCompilationDeps: true,
      doNotFollow: { path: "node_modules" },
      // The echo kind of the hub imports the hub's modules, from inside the copy of the hub that its test builds.
      exclude: { path: ["node_modules", "^tests/support/echo/hub/"] },
    },
    {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default"],
      extensions: [".ts", ".js", ".mjs", ".json"],
    },
  );
  result = output as ICruiseResult;
  imports = result.modules.flatMap(({ source, dependencies }: IModule) =>
    dependencies.map(({ module, resolved }) => ({ from: source, module, resolved })),
  );
});

/** Files of these folders, relative to the repository, with their text. */
async function filesOf(patterns: readonly string[]): Promise<{ path: string; text: string }[]> {
  const paths = await Array.fromAsync(glob(patterns, { cwd: ROOT, exclude: (path) => path === "node_modules" }));
  return Promise.all(paths.sort().map(async (path) => ({ path, text: await readFile(join(ROOT, path), "utf8") })));
}

describe("imports", () => {
  test("were read", () => {
    expect(imports.length).toBeGreaterThan(2_000);
    expect(imports).toContainEqual({
      from: "coordinator/src/coordinator.ts",
      module: "./compose/settlement.ts",
      resolved: "coordinator/src/compose/settlement.ts",
    });
  });

  test.each(RULES.map(({ name }) => name!))("%s", (name) => {
    const broken = result.summary.violations.filter(({ rule }) => rule.name === name);
    expect(broken.map(({ from, to }) => `${from} → ${to}`)).toEqual([]);
  });

  test("packages import each other by name", () => {
    const folderOf = (path: string) => path.split("/", 1)[0]!;
    const reaching = imports.filter(
      ({ from, module, resolved }) =>
        module.startsWith(".") && folderOf(from) !== folderOf(resolved) && WORKSPACES.includes(folderOf(resolved)),
    );
    expect(reaching).toEqual([]);
  });

  test.each(["coordinator", "daemon"])(
    "scripts and benches use the entry points of the %s that its package names",
    async (name) => {
      const { exports } = JSON.parse(await readFile(join(ROOT, name, "package.json"), "utf8")) as { exports: object };
      const open = Object.keys(exports).map((entry) => `@proof-of-compute/${name}${entry.slice(1)}`);
      const closed = imports.filter(
        ({ from, module }) =>
          /^(scripts|bench)\//.test(from) &&
          !from.endsWith(".test.ts") &&
          `${module}/`.startsWith(`@proof-of-compute/${name}/`) &&
          !open.includes(module),
      );
      expect(closed.map(({ from, module }) => `${from}: ${module}`)).toEqual([]);
    },
  );

  test("the hub knows the protocol alone, by name", async () => {
    const files = await filesOf(["hub/src/**/*.{ts,svelte}"]);
    expect(files.length).toBeGreaterThan(50);
    const foreign = files.flatMap(({ path, text }) =>
      [...text.matchAll(/from "([^"]+)"/g)]
        .map(([, module]) => module!)
        .filter((module) => /^@proof-of-compute\/(?!proto)|(coordinator|daemon|proto)\/src/.test(module))
        .map((module) => `${path}: ${module}`),
    );
    expect(foreign).toEqual([]);
  });
});

describe("chains", () => {
  /** What ethers asks in the background for these outlives whoever waits, and ends the process when it fails. */
  const BACKGROUND = /\.waitForDeployment\(|\.waitForTransaction\(|\bsent\.wait\(|\)\.wait\(|\.(on|once)\("block"/;

  test("nobody lets ethers poll in the background", async () => {
    const files = await filesOf([
      "{proto,coordinator,daemon,hub}/src/**/*.{ts,svelte}",
      "{scripts,docs}/**/*.{ts,mjs}",
    ]);
    expect(files.length).toBeGreaterThan(300);
    expect(files.filter(({ text }) => BACKGROUND.test(text)).map(({ path }) => path)).toEqual([]);
  });
});

describe("kinds", () => {
  test("only their own folders name them", async () => {
    const files = await filesOf(["{coordinator,daemon,hub}/src/**/*.{ts,svelte}", "scripts/**/*.{ts,mjs}"]);
    expect(files.length).toBeGreaterThan(300);
    const naming = files
      .filter(({ path, text }) => !path.includes("/kinds/") && /matmul|freivalds/i.test(text))
      .map(({ path }) => path);
    // Made from the OpenAPI document.
    expect(naming).toEqual(["hub/src/lib/api/schema.d.ts"]);
  });
});
