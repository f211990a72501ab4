import { Wallet } from "ethers";
import { ConfigError } from "./config-error.ts";
import { readSecretFile } from "./secret-file.ts";
import type { Settings } from "./table.ts";

/** The key that signs batches, from the keystore file or else from the environment; never from a flag. */
export async function readRecorderKey(
  settings: Pick<Settings, "RECORDER_PRIVATE_KEY" | "RECORDER_KEYSTORE" | "RECORDER_KEYSTORE_PASSWORD">,
): Promise<string> {
  const file = settings.RECORDER_KEYSTORE;
  if (file === undefined) return settings.RECORDER_PRIVATE_KEY!;
  return readKeystore("RECORDER_KEYSTORE", file, settings.RECORDER_KEYSTORE_PASSWORD);
}

/**
 * The private key in the file of the setting `name`: plain, or in a Web3 keystore with the password `${name}_PASSWORD`.
 */
export async function readKeystore(name: string, file: string, password: string | undefined): Promise<string> {
  const text = (await readSecretFile(name, file)).trim();
  if (/^0x[0-9a-fA-F]{64}$/.test(text)) return text;
  if (password === undefined) throw new ConfigError(`${name} is encrypted: set ${name}_PASSWORD`);
  try {
    return (await Wallet.fromEncryptedJson(text, password)).privateKey;
  } catch (cause) {
    throw new ConfigError(`${name}: ${file} is neither a key nor a keystore of that password`, { cause });
  }
}
