// `npm run proto`: lints the proto files and makes everything under proto/gen: the stubs, the descriptors for server
// reflection and the WebAssembly kernels. Does nothing when its inputs have not changed; `--force` makes everything
// again.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { glob, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const require = createRequire(import.meta.url);

const ROOT = path.resolve(import.meta.dirname, "..");
const GEN = path.join(ROOT, "proto/gen");
const STAMP = path.join(GEN, ".inputs");

/** Sources in AssemblyScript, each compiled to a module of its own. */
const KERNELS = path.join(ROOT, "proto/kernel");

/** Tools whose version decides what is generated. */
const TOOLS = ["@bufbuild/buf", "ts-proto", "assemblyscript"];

/** A digest of everything that decides the output: the sources, the settings, this script and the tools' versions. */
async function digestOfInputs(): Promise<string> {
  const files = ["buf.yaml", "buf.gen.yaml", "scripts/generate.ts"];
  for await (const file of glob("proto/{proofofcompute,grpc,kernel}/**/*.{proto,ts}", { cwd: ROOT })) files.push(file);
  const hash = createHash("sha256");
  for (const file of files.sort()) hash.update(`${file}\n`).update(await readFile(path.join(ROOT, file)));
  for (const tool of TOOLS) {
    const manifest = JSON.parse(await readFile(path.join(ROOT, "node_modules", tool, "package.json"), "utf8"));
    hash.update(`${tool}@${manifest.version}\n`);
  }
  return hash.digest("hex");
}

async function buf(...args: string[]): Promise<void> {
  // The plugin's first line asks for `node`. Put the Node that runs this file first on the PATH.
  const env = { ...process.env, PATH: [path.dirname(process.execPath), process.env.PATH].join(path.delimiter) };
  await run(process.execPath, [require.resolve("@bufbuild/buf/bin/buf"), ...args], { cwd: ROOT, env });
}

/**
 * Compiles a kernel and embeds it in a module, so that it loads alike in Node, in its worker threads and in browsers. A
 * line `// asc: --enable simd` in the source adds options of the compiler.
 */
async function compileKernel(file: string): Promise<void> {
  const asc = await import("assemblyscript/asc");
  const output = new Map<string, string | Uint8Array>();
  const source = path.join("proto/kernel", file);
  const options = /^\/\/ asc: (.+)$/m.exec(await readFile(path.join(ROOT, source), "utf8"))?.[1]?.split(" ") ?? [];
  const flags = ["--runtime", "stub", "-O3", "--noAssert", "--use", "abort=", ...options];
  const { error, stderr } = await asc.main([source, "--baseDir", ROOT, "--outFile", "kernel.wasm", ...flags], {
    writeFile: (name, contents) => void output.set(path.basename(name), contents),
  });
  if (error) throw new Error(`${source} does not compile:\n${stderr.toString()}`, { cause: error });
  const base64 = Buffer.from(output.get("kernel.wasm")!).toString("base64");
  const module = `// Made from ${source} by scripts/generate.ts.\nexport const WASM =\n  "${base64}";\n`;
  const target = path.join(GEN, "kernel", file);
  await mkdir(path.dirname(target), { recursive: true });
  await writeFile(target, module);
}

async function main(): Promise<void> {
  const digest = await digestOfInputs();
  const made = await readFile(STAMP, "utf8").catch(() => "");
  if (made === digest && !process.argv.includes("--force")) return;
  await mkdir(GEN, { recursive: true });
  await rm(STAMP, { force: true });
  await buf("lint");
  await buf("generate");
  await buf("build", "--exclude-source-info", "-o", path.join(GEN, "descriptors.binpb"));
  for await (const file of glob("**/*.ts", { cwd: KERNELS })) await compileKernel(file);
  await writeFile(STAMP, digest);
  console.log("made proto/gen: stubs, descriptors, kernels");
}

await main().catch((error: Error & { stdout?: string; stderr?: string }) => {
  console.error([error.message, error.stdout, error.stderr].filter(Boolean).join("\n"));
  process.exitCode = 1;
});
