import { Wallet } from "ethers";
import { describe, expect, it } from "vitest";
import type { z } from "zod";
import { ConfigError } from "./config-error.ts";
import { readSettings, resolveSettings } from "./read.ts";
import { SETTINGS, type Setting } from "./table.ts";

const KEY = `0x${"5e".repeat(32)}`;
const CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

/** The message for settings that do not work. */
function problem(text: Readonly<Record<string, string>>): string {
  try {
    resolveSettings(text);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  return expect.unreachable("the settings were taken");
}

describe("settings", () => {
  it("have defaults that work together, and an empty setting is unset", () => {
    const empty = Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, ""]));
    expect(resolveSettings(empty)).toEqual(resolveSettings({}));
    expect(resolveSettings({})).toMatchObject({
      GRPC_ADDRESS: { host: "127.0.0.1", port: 50051 },
      HTTP_ADDRESS: { host: "127.0.0.1", port: 3000 },
      XDC_RPC_URL: undefined,
      LEASE_TIME: 30_000,
      INSECURE: false,
    });
  });

  it.each([
    ["GRPC_ADDRESS", "[::1]:50051", { host: "::1", port: 50051 }],
    ["LEASE_TIME", "1.5m", 90_000],
    ["TASK_DEADLINE", "7d", 604_800_000],
    ["PROOF_OF_COMPUTE_ADDRESS", CONTRACT.replace("0x", "xdc"), CONTRACT],
    ["GRPC_AUDIENCES", " nodes.example:443 ,[::1]:1,", ["nodes.example:443", "[::1]:1"]],
    ["PUBLIC_GRPC_ADDRESS", "nodes.example:443", "nodes.example:443"],
    ["PUBLIC_ORIGINS", "https://Hub.Example/, http://127.0.0.1:80", ["https://hub.example", "http://127.0.0.1"]],
    ["ALLOW_SELF_TASKS", "false", false],
    ["TRUST_PROXY", "false", 0],
    ["TRUST_PROXY", "true", 1],
    ["TRUST_PROXY", "2", 2],
    ["TRUST_PROXY", "10.0.0.0/8, ::1", ["10.0.0.0/8", "::1"]],
    ["MAX_ATTEMPTS", "5", 5],
  ] as const)("%s takes %j", (name, text, value) => {
    expect(resolveSettings({ [name]: text })[name]).toEqual(value);
  });

  const duration = 'a duration such as "500ms", "30s", "5m", "1h" or "7d"';
  const hostPort = 'an address such as "127.0.0.1:50051" or "[::1]:3000"';
  const origin = (text: string) => `an origin such as "https://hub.example", not "${text}"`;
  it.each([
    ["GRPC_ADDRESS", "50051", hostPort],
    ["GRPC_ADDRESS", "127.0.0.1:65536", hostPort],
    ["HTTP_ADDRESS", "http://127.0.0.1:3000", hostPort],
    ["HTTP_ADDRESS", "::1:3000", hostPort],
    ["GRPC_AUDIENCES", "nodes.example:443,nodes.example", hostPort],
    ["PUBLIC_GRPC_ADDRESS", "https://nodes.example", hostPort],
    ["PUBLIC_ORIGINS", "hub.example", origin("hub.example")],
    ["PUBLIC_ORIGINS", "hub.example:443", origin("hub.example:443")],
    ["PUBLIC_ORIGINS", "https://hub.example,https://hub.example/app", origin("https://hub.example/app")],
    ["PUBLIC_RPC_URL", "rpc.example", 'a URL such as "https://rpc.example"'],
    ["PUBLIC_RPC_URL", "ws://rpc.example", 'a URL such as "https://rpc.example"'],
    ["LEASE_TIME", "30", duration],
    ["LEASE_TIME", "-1s", duration],
    ["COORDINATOR_ID", "one two", "1 to 64 letters, digits"],
    ["MAX_ATTEMPTS", "0", "a whole number from 1 to 100"],
    ["MAX_ATTEMPTS", "2.5", "a whole number from 1 to 100"],
    ["MAX_NODES", "many", "a whole number from 1 to 100000"],
    ["BATCH_MAX_PROVIDERS", "501", "a whole number from 1 to 500"],
    ["INSECURE", "yes", "true or false"],
    ["TRUST_PROXY", "proxy.example", "true, false, how many proxies"],
    ["TRUST_PROXY", "0.0.0.0/0", "true, false, how many proxies"],
    ["TRUST_PROXY", "::/0", "true, false, how many proxies"],
    ["TRUST_PROXY", "10.0.0.1/33", "true, false, how many proxies"],
    ["TRUST_PROXY", "-1", "true, false, how many proxies"],
    ["PROOF_OF_COMPUTE_ADDRESS", CONTRACT.replace("F", "f"), ""],
    ["LOG_LEVEL", "loud", ""],
  ])("%s refuses %j in one line that names its flag", (name, text, expected) => {
    const said = problem({ [name]: text });
    expect(said).toContain(`${name} (--${name.toLowerCase().replaceAll("_", "-")}): ${expected}`);
    expect(said).not.toContain("\n");
  });

  it("are all checked before the error is thrown", () => {
    expect(problem({ LEASE_TIME: "soon", MAX_NODES: "0", LOG: "xml" }).split("\n")).toHaveLength(3);
  });

  it.each([
    ["RECORDER_PRIVATE_KEY", KEY.slice(2)],
    ["METRICS_TOKEN", "hunter2"],
    ["XDC_RPC_URL", "rpc.example/v1/api-key-5e5e"],
  ])("that are secret are never said: %s", (name, secret) => {
    const said = problem({ [name]: secret });
    expect(said).toMatch(new RegExp(`^${name}: `));
    expect(said).not.toContain(secret);
  });

  it.each(Object.entries<Setting<z.ZodType>>(SETTINGS))(
    "are never said when they look secret: %s",
    (name, { secret }) => {
      const { privateKey, mnemonic } = Wallet.createRandom();
      for (const value of [privateKey, privateKey.slice(2), mnemonic!.phrase]) {
        const flag = `--${name.toLowerCase().replaceAll("_", "-")}`;
        const argv =
          (...args: string[]) =>
          () =>
            readSettings(["node", "coordinator", ...args], {}, "0");
        const reads = [argv(flag, value), argv(`${flag}=${value}`), argv(flag, ...value.split(" ")), argv(value)];
        if (!secret) reads.push(() => resolveSettings({ [name]: value }));
        for (const read of reads) {
          expect(read).toThrow(ConfigError);
          expect(read).not.toThrow(value.slice(4, 20));
        }
      }
    },
  );

  it.each<[string, Record<string, string>, RegExp | undefined]>([
    ["node stream beyond loopback", { GRPC_ADDRESS: "0.0.0.0:50051" }, /GRPC_ADDRESS 0\.0\.0\.0.*TLS_CERT.*--insecure/],
    ["REST beyond loopback", { HTTP_ADDRESS: "[::]:3000" }, /HTTP_ADDRESS ::.*proxy with TLS.*--insecure/],
    ["a name that is no loopback", { GRPC_ADDRESS: "127.example:1" }, /beyond loopback/],
    [
      "both beyond loopback with INSECURE",
      { GRPC_ADDRESS: "0.0.0.0:1", HTTP_ADDRESS: "[::]:2", INSECURE: "true" },
      undefined,
    ],
    ["node stream with TLS", { GRPC_ADDRESS: "0.0.0.0:1", TLS_CERT: "c", TLS_KEY: "k" }, undefined],
    ["localhost", { GRPC_ADDRESS: "localhost:1", HTTP_ADDRESS: "[::1]:2" }, undefined],
    ["half of TLS", { TLS_CERT: "c" }, /TLS_CERT and TLS_KEY go together/],
    ["a chain alone", { XDC_RPC_URL: "http://127.0.0.1:1" }, /XDC_RPC_URL needs PROOF_OF_COMPUTE_ADDRESS and RECORDER/],
    ["MongoDB", { MONGODB_URI: "mongodb://localhost/proof_of_compute?replicaSet=rs0" }, undefined],
    ["another database than MongoDB", { MONGODB_URI: "postgres://localhost" }, /MONGODB_URI: a URI such as "mongodb:/],
  ])("are checked together: %s", (_, text, expected) => {
    if (expected) expect(problem(text)).toMatch(expected);
    else expect(() => resolveSettings(text)).not.toThrow();
  });
});

describe("the command line", () => {
  const read = (flags: string[], environment = {}) => readSettings(["node", "coordinator", ...flags], environment, "1");

  it("overrides the environment, and a flag without a value means true", () => {
    const environment = { LEASE_TIME: "1s", MAX_ATTEMPTS: "7" };
    const settings = read(["--lease-time", "2s", "--insecure", "--http-address", "0.0.0.0:3000"], environment);
    expect(settings).toMatchObject({ LEASE_TIME: 2_000, MAX_ATTEMPTS: 7, INSECURE: true });
  });

  it("has a flag for every setting that is not secret", () => {
    const secret = new Set(Object.entries(SETTINGS).flatMap(([name, entry]) => ("secret" in entry ? [name] : [])));
    expect([...secret]).toContain("RECORDER_PRIVATE_KEY");
    for (const [name, { default: text }] of Object.entries(SETTINGS)) {
      if (!secret.has(name) && text !== undefined)
        expect(() => read([`--${name.toLowerCase().replaceAll("_", "-")}`, text])).not.toThrow();
    }
  });
});
