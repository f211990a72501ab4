import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, sign } from "node:crypto";
import { chmod, link, open, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { DaemonError } from "./errors.ts";

const KEY_FILE = "node-key.pem";
// SubjectPublicKeyInfo of an ed25519 key is a fixed prefix and the 32 bytes of the key (RFC 8410).
const RAW_KEY_BYTES = 32;

/** A node's identity, an ed25519 key. Only this module touches the private half. */
export class Identity {
  /** The public key, 32 bytes. */
  readonly nodeId: Buffer;
  readonly #key: KeyObject;

  constructor(privateKey: KeyObject) {
    if (privateKey.asymmetricKeyType !== "ed25519") {
      throw new TypeError(`a node key is ed25519, not ${privateKey.asymmetricKeyType}`);
    }
    this.#key = privateKey;
    this.nodeId = createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(-RAW_KEY_BYTES);
  }

  /** Signs on the thread pool; 64 bytes. */
  sign(message: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      sign(null, message, this.#key, (error, signature) => (error ? reject(error) : resolve(signature)));
    });
  }
}

/** A new identity, not stored anywhere. */
export async function newIdentity(): Promise<Identity> {
  return new Identity((await promisify(generateKeyPair)("ed25519")).privateKey);
}

/**
 * The identity of a data directory, created at the first start. Throws a {@link DaemonError} (KEY) when the key file is
 * damaged, or when users other than its owner may read it.
 */
export async function loadIdentity(dataDir: string): Promise<Identity> {
  const path = join(dataDir, KEY_FILE);
  try {
    return await read(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw keyError(path, error);
  }
  try {
    await create(path);
    return await read(path);
  } catch (error) {
    throw keyError(path, error);
  }
}

async function read(path: string): Promise<Identity> {
  const { mode } = await stat(path);
  // Windows has no such bits, but its profile folders are private.
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    throw new DaemonError("KEY", `others can read the node key; run: chmod 600 ${path}`);
  }
  return new Identity(createPrivateKey(await readFile(path)));
}

/** Writes a draft and links it into place: a crash leaves a whole key or none, and no key is ever overwritten. */
async function create(path: string): Promise<void> {
  const { privateKey } = await promisify(generateKeyPair)("ed25519");
  const draft = `${path}.${process.pid}`;
  const file = await open(draft, "w", 0o600);
  try {
    await file.writeFile(privateKey.export({ format: "pem", type: "pkcs8" }));
    await file.sync();
  } finally {
    await file.close();
  }
  await chmod(draft, 0o600);
  try {
    await link(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}

function keyError(path: string, error: unknown): DaemonError {
  if (error instanceof DaemonError) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new DaemonError(
    "KEY",
    `the node key ${path} is unusable (${why}); restore it, or remove it for a new identity`,
    {
      cause: error,
    },
  );
}
