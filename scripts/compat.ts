/**
 * `npm run test:compat`: programs of the version before and of this one together, over real sockets and on one store. Takes
 * the version before from the history of this clone; without it nothing is run, and that is said.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { checkOut, PREVIOUS, VersionMissing } from "@proof-of-compute/tests/support/versions";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const VITEST = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url));

try {
  console.log(`the version before: ${await checkOut(PREVIOUS)}`);
  const args = [VITEST, "run", "--project", "compat-processes", ...process.argv.slice(2)];
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: "inherit" });
  child.on("exit", (code) => process.exit(code ?? 1));
} catch (error) {
  if (!(error instanceof VersionMissing)) throw error;
  console.log(`${error.message}\nNothing was run. What was recorded of that version is tested by npm test.`);
}
