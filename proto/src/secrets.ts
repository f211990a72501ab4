/**
 * Why a value is refused that looks like a secret. It must not be repeated: what a program says goes to logs and screens.
 */
export const SECRET_REFUSED =
  "looks like a private key or a recovery phrase, which does not belong here, so it is not repeated. " +
  "If it is one, move what it guards: shells and process lists may have kept it";

/** A key in hex, also one that was mistyped by a few digits. */
const KEY = /^(?:0x|xdc)?[0-9a-f]{60,}$/i;
/** Words of a wallet's list have three to eight letters; a phrase has 12 to 24 of them, or nearly so. */
const PHRASE = /^[a-z]{3,8}(?:[\s,;]+[a-z]{3,8}){9,}$/i;
const PEM = /-----BEGIN [A-Z ]*PRIVATE KEY-----/;

/** Whether somebody may have meant to keep a value for themselves: a private key, or the words of a wallet. */
export function looksSecret(value: string): boolean {
  const bare = value
    .trim()
    .replace(/^(["'])(.*)\1$/s, "$2")
    .trim();
  return KEY.test(bare) || PHRASE.test(bare) || PEM.test(bare);
}

/** `"value"` for a message, unless it looks like a secret. */
export function quoted(value: string): string {
  return looksSecret(value) || /[0-9a-f]{60}/i.test(value) ? "what was given" : `"${value}"`;
}

/** A command line has a secret in it. The message names the flag and does not repeat it. */
export class SecretGiven extends Error {
  override readonly name = "SecretGiven";
}

/**
 * Throws {@link SecretGiven} when an argument looks like a secret. To be called before anything reads the arguments, because
 * whoever does not understand one repeats it. `allowed` flags take hashes, which look alike.
 */
export function refuseSecretArguments(args: readonly string[], allowed: readonly string[] = []): void {
  let flag: string | undefined;
  /** Values since the last flag: an unquoted phrase comes word by word. */
  let values: string[] = [];
  for (const arg of args) {
    const [, name, value] = /^(--?[\w-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (name !== undefined) {
      flag = name;
      values = value === undefined ? [] : [value];
    } else {
      values.push(arg);
    }
    const isSecret = looksSecret(values.at(-1) ?? "") || looksSecret(values.join(" "));
    if (isSecret && !allowed.includes(flag ?? "")) throw new SecretGiven(`${flag ?? "an argument"} ${SECRET_REFUSED}`);
  }
}
