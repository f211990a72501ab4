import { readFile, stat } from "node:fs/promises";
import { ConfigError } from "./config-error.ts";

/** The text of a file that the setting `name` names. Throws {@link ConfigError} when it cannot be read. */
export async function readSettingFile(name: string, file: string): Promise<string> {
  return readFile(file, "utf8").catch((cause: unknown) => {
    throw new ConfigError(`${name}: cannot read ${file}`, { cause });
  });
}

/** The same of a file that nobody but its owner may read; throws {@link ConfigError} when others may. */
export async function readSecretFile(name: string, file: string): Promise<string> {
  const text = await readSettingFile(name, file);
  const { mode } = await stat(file);
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    throw new ConfigError(`${name}: others may read ${file}; chmod 600 it`);
  }
  return text;
}
