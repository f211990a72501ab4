import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Wallet } from "ethers";
import { LocalError } from "./terminal.ts";

/** The wallet of the private key in a file, which only its owner may read. The first call creates both. */
export function keptWallet(file: string): Wallet {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, `${Wallet.createRandom().privateKey}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    if (process.platform !== "win32" && (statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600);
  }
  try {
    return new Wallet(readFileSync(file, "utf8").trim());
  } catch (cause) {
    throw new LocalError(`${file} holds no private key; move it away, and another is made`, { cause });
  }
}
