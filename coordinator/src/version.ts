import { readFileSync } from "node:fs";

/** Version that nodes, /api/config and --version show. */
export const VERSION = (
  JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }
).version;
