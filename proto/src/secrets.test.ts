import { Mnemonic, Wallet } from "ethers";
import { describe, expect, test } from "vitest";
import { looksSecret, quoted, refuseSecretArguments, SecretGiven } from "./secrets.ts";

const { privateKey, address } = Wallet.createRandom();
const phraseOf = (bytes: number) => Mnemonic.fromEntropy(new Uint8Array(bytes).fill(0x5a)).phrase;

const SECRETS = [
  privateKey,
  privateKey.slice(2),
  privateKey.toUpperCase().replace("0X", "0x"),
  `xdc${privateKey.slice(2)}`,
  ` ${privateKey}\n`,
  `"${privateKey}"`,
  privateKey.slice(0, -1),
  `${privateKey}0`,
  phraseOf(16),
  phraseOf(32),
  phraseOf(16).replaceAll(" ", ", "),
  phraseOf(16).toUpperCase(),
  phraseOf(16).split(" ").slice(1).join(" "),
  "-----BEGIN EC PRIVATE KEY-----\nMHc",
];

test.each(SECRETS)("%j looks like a secret, and is quoted by nobody", (value) => {
  expect(looksSecret(value)).toBe(true);
  expect(quoted(value)).toBe("what was given");
});

test.each([
  ...["", "0x", address, `xdc${address.slice(2)}`, "127.0.0.1:3000", "compute.example.org:50051", "30s", ".data"],
  "https://rpc.example/v1/path?key=value",
  "/var/lib/some/folder/that/lies/very/deep/below/many/other/folders",
  "one two three",
])("%j does not", (value) => {
  expect(looksSecret(value)).toBe(false);
  expect(quoted(value)).toBe(`"${value}"`);
});

test("a key within something else is not quoted either", () => {
  expect(quoted(`${privateKey}:50051`)).toBe("what was given");
});

describe("arguments", () => {
  const refusal = (...args: string[]) => {
    try {
      refuseSecretArguments(args, ["--transaction"]);
      return undefined;
    } catch (error) {
      expect(error).toBeInstanceOf(SecretGiven);
      expect((error as Error).message).not.toContain(privateKey.slice(4));
      return (error as Error).message.split(" looks ")[0];
    }
  };

  test("that look like secrets are refused by the name of their flag", () => {
    expect(refusal("--wallet-address", privateKey)).toBe("--wallet-address");
    expect(refusal("--insecure", `--unknown=${privateKey}`)).toBe("--unknown");
    expect(refusal("--owner", phraseOf(16))).toBe("--owner");
    expect(refusal(privateKey)).toBe("an argument");
    expect(refusal("--wallet-address", ...phraseOf(16).split(" "))).toBe("--wallet-address");
    expect(refusal("receipts.jsonl", "--all", ...phraseOf(32).split(" "))).toBe("--all");
  });

  test("are fine otherwise, as are hashes where hashes go", () => {
    expect(refusal("--wallet-address", address, "--slots=4", "file.json")).toBeUndefined();
    expect(refusal("--transaction", privateKey, `--transaction=${privateKey}`)).toBeUndefined();
  });
});
