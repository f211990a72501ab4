import { createSecureContext } from "node:tls";
import { ConfigError } from "./config-error.ts";
import { readSecretFile, readSettingFile } from "./secret-file.ts";
import type { Settings } from "./table.ts";

/** A certificate chain and its key, both PEM. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/**
 * The certificate of the node stream, if one is set. Throws {@link ConfigError} when certificate and key do not match.
 */
export async function readTlsFiles(settings: Pick<Settings, "TLS_CERT" | "TLS_KEY">): Promise<TlsFiles | undefined> {
  const { TLS_CERT, TLS_KEY } = settings;
  if (TLS_CERT === undefined || TLS_KEY === undefined) return undefined;
  const files = { cert: await readSettingFile("TLS_CERT", TLS_CERT), key: await readSecretFile("TLS_KEY", TLS_KEY) };
  try {
    createSecureContext(files);
  } catch (cause) {
    const message = `TLS_CERT, TLS_KEY: ${TLS_CERT} and ${TLS_KEY} are not a certificate and its key`;
    throw new ConfigError(`${message} (${(cause as Error).message})`, { cause });
  }
  return files;
}
