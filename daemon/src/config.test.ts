import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { temporaryFolder, WALLET } from "@proof-of-compute/tests/support/daemon/daemon";
import { Wallet } from "ethers";
import { afterEach, describe, expect, test, vi } from "vitest";
import { commandLine, readConfig, SETTINGS } from "./config.ts";
import { EXITS } from "./errors.ts";

const XDC = `xdc${WALLET.slice(2)}`;
const given = (...args: string[]) => readConfig(["--wallet-address", WALLET, ...args])!;

afterEach(() => vi.unstubAllEnvs());

describe("settings", () => {
  test("have defaults for everything but the wallet", () => {
    expect(given()).toMatchObject({
      wallet: WALLET,
      slots: availableParallelism(),
      measure: false,
      dataDir: ".data/daemon",
      outboxMaxBytes: 2 ** 30,
      drainTimeoutMs: 30_000,
      log: "pretty",
      logLevel: "info",
    });
    expect(given().coordinators).toMatchObject([{ address: "127.0.0.1:50051", audience: "127.0.0.1:50051" }]);
  });

  test.each([
    ["--wallet-address", WALLET],
    ["--wallet-address", XDC],
    ["--roxonn-wallet-address", XDC],
    ["--wallet-address", WALLET.toLowerCase()],
  ])("take the wallet as %s %s", (flag, text) => {
    expect(readConfig([flag, text])?.wallet).toBe(WALLET);
  });

  test("come from the environment too, and the command line wins", () => {
    vi.stubEnv("WALLET_ADDRESS", XDC);
    vi.stubEnv("COORDINATOR", "one:1, [::1]:2");
    vi.stubEnv("SLOTS", "3");
    vi.stubEnv("DAEMON_INSECURE", "false");
    vi.stubEnv("TASK_MEMORY", "1.5G");
    expect(readConfig(["--slots", "4"])).toMatchObject({ wallet: WALLET, slots: 4, memoryBytes: 1.5 * 2 ** 30 });
    expect(readConfig([])?.coordinators.map(({ address }) => address)).toEqual(["one:1", "[::1]:2"]);
    expect(readConfig(["--coordinator", "three"])?.coordinators.map(({ address }) => address)).toEqual(["three:50051"]);
  });

  test("accept every LOG_LEVEL that a coordinator in the same environment accepts", () => {
    vi.stubEnv("LOG_LEVEL", "fatal");
    expect(given().logLevel).toBe("fatal");
  });

  test("name several coordinators, and one name for all of them", () => {
    const { coordinators } = given("--coordinator", "a:1", "--coordinator", "b", "--audience", "c:3");
    expect(coordinators.map(({ address, audience }) => [address, audience])).toEqual([
      ["a:1", "c:3"],
      ["b:50051", "c:3"],
    ]);
  });

  test("keep the default coordinator beside others when it is given explicitly", () => {
    const { coordinators } = given("--coordinator", "127.0.0.1:50051", "--coordinator", "b:1");
    expect(coordinators.map(({ address }) => address)).toEqual(["127.0.0.1:50051", "b:1"]);
  });

  test.each(SETTINGS.map(({ flag, env }) => [flag.split(" ")[0]!, env]))("never repeat a secret: %s", (flag, env) => {
    const { privateKey, mnemonic } = Wallet.createRandom();
    const refusal = (read: () => unknown) => {
      try {
        read();
      } catch (error) {
        expect(error).toMatchObject({ name: "DaemonError", exit: "USAGE" });
        return (error as Error).message;
      }
      return expect.unreachable("it was taken");
    };
    for (const secret of [privateKey, privateKey.slice(2), mnemonic!.phrase]) {
      const said = [refusal(() => readConfig([flag, secret])), refusal(() => readConfig([`${flag}=${secret}`]))];
      said.push(refusal(() => readConfig([flag, ...secret.split(" ")])));
      vi.stubEnv(env, secret);
      said.push(refusal(() => readConfig([])));
      vi.unstubAllEnvs();
      for (const each of said) {
        expect(each).toContain(flag);
        expect(each).not.toContain(secret.slice(4, 20));
      }
    }
  });

  test("count as unset when their variable is empty, as in a copied .env", () => {
    for (const { env } of SETTINGS) vi.stubEnv(env, "");
    const set = given();
    vi.unstubAllEnvs();
    expect(set).toEqual(given());
  });

  test.each([
    ["true", true],
    ["false", false],
  ])("read the value of a switch's variable: %s", (word, measure) => {
    vi.stubEnv("DAEMON_MEASURE", word);
    vi.stubEnv("DAEMON_INSECURE", word);
    const { coordinators, ...rest } = given("--coordinator", "compute.example.org:1");
    expect(rest.measure).toBe(measure);
    expect(coordinators[0]!.credentials._isSecure()).toBe(!measure);
    expect(given("--measure").measure).toBe(true);
  });

  test.each([
    ["500ms", 500],
    ["7d", 7 * 86_400_000],
    ["24d", 24 * 86_400_000],
  ])("take a time of %s", (text, drainTimeoutMs) => {
    expect(given("--drain-timeout", text)).toMatchObject({ drainTimeoutMs });
  });

  test("choose plain text on this machine and TLS elsewhere, unless --insecure is set", () => {
    const isSecure = (...args: string[]) =>
      given(...args).coordinators.map(({ credentials }) => credentials._isSecure());
    const all = ["127.0.0.1:1", "localhost:1", "[::1]:1", "a.localhost:1", "compute.example.org:1", "10.0.0.1:1"];
    const flags = all.flatMap((each) => ["--coordinator", each]);
    expect(isSecure(...flags)).toEqual([false, false, false, false, true, true]);
    expect(isSecure(...flags, "--insecure")).toEqual([false, false, false, false, false, false]);
  });

  test("read the wallet's authorization from a file", async () => {
    const path = join(await temporaryFolder(), "authorization.json");
    await writeFile(path, JSON.stringify({ issuedAt: 1, expiresAt: "2", signature: "0x0102" }));
    expect(given("--authorization", path).authorization).toEqual({
      issuedAt: 1n,
      expiresAt: 2n,
      signature: Uint8Array.of(1, 2),
    });
  });

  test.each([
    [[], /^--wallet-address is missing: give the wallet that earns, 0x… or xdc…$/],
    [["--wallet-address", "me"], /^--wallet-address "me" is not a wallet address: an address starts with 0x or xdc$/],
    [["--wallet-address", "0x12"], /has 40 hex digits after its prefix, this one has 2$/],
    [["--wallet-address", WALLET.replace("C", "c")], /checksum.*wrong/],
    [["--wallet-address", `0x${"0".repeat(40)}`], /zero address/],
    [["--wallet-address"], /argument missing/],
    [["--walet-address", WALLET], /unknown option.*--wallet-address/s],
    [["--wallet-address", WALLET, "extra"], /too many arguments/],
    [
      ["--wallet-address", WALLET, "--coordinator", "http://a:1"],
      /^--coordinator "http:\/\/a:1" is not host:port \(no http/,
    ],
    [["--wallet-address", WALLET, "--coordinator", "a:70000"], /a port is a number from 1 to 65535/],
    [["--wallet-address", WALLET, "--slots", "0"], /^--slots is at least 1$/],
    [["--wallet-address", WALLET, "--slots", "many"], /^--slots is a whole number/],
    [["--wallet-address", WALLET, "--memory", "lots"], /^--memory "lots" is not a size such as 512M/],
    [["--wallet-address", WALLET, "--drain-timeout", "30"], /^--drain-timeout "30" is not a time such as 30s/],
    [["--wallet-address", WALLET, "--drain-timeout", "600h"], /^--drain-timeout "600h" is longer than 24d$/],
    [["--wallet-address", WALLET, "--coordinator", ""], /^--coordinator names no coordinator$/],
    [["--wallet-address", WALLET, "--coordinator", " , "], /^--coordinator names no coordinator$/],
    [["--wallet-address", WALLET, "--data-dir", ""], /^--data-dir is empty$/],
    [["--wallet-address", WALLET, "--audience", ""], /^--audience is empty$/],
    [["--wallet-address", WALLET, "--tls-ca", "/nowhere.pem"], /^--tls-ca cannot be read/],
    [["--wallet-address", WALLET, "--rpc-url", "127.0.0.1"], /^--rpc-url is an http/],
    [["--wallet-address", WALLET, "--log", "xml"], /^--log is one of pretty, json$/],
    [["--wallet-address", WALLET, "--log-level", "loud"], /^--log-level is one of/],
  ])("%j are refused in one line", (args, message) => {
    expect(() => readConfig(args)).toThrow(
      expect.objectContaining({ exit: "USAGE", message: expect.stringMatching(message) }),
    );
  });

  test("are all in the help, with their variables and the exit codes", () => {
    let help = "";
    commandLine()
      .configureOutput({
        writeOut: (text) => {
          help += text;
        },
      })
      .outputHelp();
    for (const { flag, env } of SETTINGS) {
      expect(help).toContain(flag);
      expect(help.replace(/\s+/g, " ")).toContain(`env: ${env})`);
    }
    for (const { code, meaning } of Object.values(EXITS)) expect(help).toContain(`${code}  ${meaning}`);
  });
});

describe("exit codes", () => {
  test("are those of the README", () => {
    const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
    const rows = [...readme.matchAll(/^\| (\d) \| (.+) \|$/gm)].map(([, code, meaning]) => ({
      code: Number(code),
      meaning,
    }));
    expect(rows).toEqual(Object.values(EXITS));
  });
});
