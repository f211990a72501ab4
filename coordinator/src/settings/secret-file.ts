import { readFile, stat } from "node:fs/promises";
import { looksSecret, SECRET_REFUSED } from "@proof-of-compute/proto/secrets";
import { ConfigError } from "./config-error.ts";

/** Reads the file of the setting `name`. Throws {@link ConfigError} when it cannot be read. */
export async function readSettingFile(name: string, file: string): Promise<string> {
  if (looksSecret(file)) throw new ConfigError(`${name}: ${SECRET_REFUSED}. It names a file`);
  return readFile(file, "utf8").catch((cause: unknown) => {
    throw new ConfigError(`${name}: cannot read ${file}`, { cause });
  });
}

/** Reads a file that only its owner may read; throws {@link ConfigError} when others may read it. */
export async function readSecretFile(name: string, file: string): Promise<string> {
  const text = await readSettingFile(name, file);
  const { mode } = await stat(file);
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    throw new ConfigError(`${name}: others may read ${file}; chmod 600 it`);
  }
  return text;
}
