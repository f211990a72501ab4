import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

/**
 * Sets variables in a `.env` file, and keeps every other line. Creates a missing file. Only the owner may read it
 * afterwards, because it contains keys.
 */
export function updateEnvFile(file: string, values: Readonly<Record<string, string>>): void {
  const lines = existsSync(file) ? readFileSync(file, "utf8").replace(/\n$/, "").split("\n") : [];
  for (const [name, value] of Object.entries(values)) {
    const line = `${name}=${value}`;
    const at = lines.findLastIndex((candidate) => new RegExp(`^\\s*(?:export\\s+)?${name}\\s*=`).test(candidate));
    if (at === -1) lines.push(line);
    else lines[at] = line;
  }
  const draft = `${file}.${process.pid}.new`;
  writeFileSync(draft, `${lines.join("\n")}\n`, { mode: 0o600 });
  renameSync(draft, file);
}
