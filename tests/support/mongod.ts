import { accessSync, constants, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The download folders of mongodb-memory-server, of other projects and of this one. */
const MEMORY_SERVER = [
  process.env.MONGOMS_DOWNLOAD_DIR,
  join(homedir(), ".cache", "mongodb-binaries"),
  fileURLToPath(new URL("../../node_modules/.cache/mongodb-memory-server", import.meta.url)),
].filter((folder) => folder !== undefined);

/** A mongod of this machine: `MONGOD_PATH`, one on the PATH, or one that mongodb-memory-server once downloaded. */
export function findMongod(): { readonly path: string; readonly kind: "mongod" | "memory-server" } | undefined {
  const named = process.env.MONGOD_PATH ? [process.env.MONGOD_PATH] : [];
  const onPath = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, "mongod"));
  const path = [...named, ...onPath].find(isExecutable);
  if (path !== undefined) return { path, kind: "mongod" };
  // Names such as mongod-x64-debian-8.0.4: the newest is last.
  const downloaded = MEMORY_SERVER.flatMap((folder) => list(folder).map((name) => join(folder, name)));
  const newest = downloaded.filter(isExecutable).at(-1);
  return newest === undefined ? undefined : { path: newest, kind: "memory-server" };
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.startsWith("mongod"))
      .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  } catch {
    return [];
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
