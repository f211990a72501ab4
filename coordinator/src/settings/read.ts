import { looksSecret, refuseSecretArguments, SECRET_REFUSED, SecretGiven } from "@proof-of-compute/proto/secrets";
import { Command } from "commander";
import type { z } from "zod";
import { isLoopback } from "../net/host-port.ts";
import { ConfigError } from "./config-error.ts";
import { flagOf, SETTINGS, type Setting, type SettingName, type Settings } from "./table.ts";

/** Validates settings in text form, adds defaults, and checks settings against each other. Throws {@link ConfigError}. */
export function resolveSettings(text: Readonly<Record<string, string | undefined>>): Settings {
  const problems: string[] = [];
  const settings: Record<string, unknown> = {};
  for (const [name, { schema, default: fallback, secret }] of Object.entries<Setting<z.ZodType>>(SETTINGS)) {
    const given = text[name];
    if (!secret && given !== undefined && looksSecret(given)) {
      problems.push(`${name} (${flagOf(name)}): ${SECRET_REFUSED}`);
      continue;
    }
    const parsed = schema.safeParse(given === undefined || given === "" ? fallback : given);
    if (parsed.success) settings[name] = parsed.data;
    else {
      const known = secret ? name : `${name} (${flagOf(name)})`;
      problems.push(`${known}: ${parsed.error.issues.map((issue) => issue.message).join("; ")}`);
    }
  }
  if (problems.length === 0) problems.push(...crossCheck(settings as Settings));
  if (problems.length > 0) throw new ConfigError(problems.join("\n"));
  return settings as Settings;
}

function crossCheck(settings: Settings): string[] {
  const problems: string[] = [];
  if ((settings.TLS_CERT === undefined) !== (settings.TLS_KEY === undefined)) {
    problems.push("TLS_CERT and TLS_KEY go together");
  }
  if (!settings.INSECURE && settings.TLS_CERT === undefined && !isLoopback(settings.GRPC_ADDRESS.host)) {
    problems.push(
      `GRPC_ADDRESS ${settings.GRPC_ADDRESS.host} is beyond loopback: set TLS_CERT and TLS_KEY, or --insecure`,
    );
  }
  if (!settings.INSECURE && !isLoopback(settings.HTTP_ADDRESS.host)) {
    problems.push(
      `HTTP_ADDRESS ${settings.HTTP_ADDRESS.host} is beyond loopback: keep it there behind a proxy with TLS, or --insecure`,
    );
  }
  const chain = [
    settings.XDC_RPC_URL,
    settings.PROOF_OF_COMPUTE_ADDRESS,
    settings.RECORDER_PRIVATE_KEY ?? settings.RECORDER_KEYSTORE,
  ];
  if (settings.XDC_RPC_URL !== undefined && chain.includes(undefined)) {
    problems.push(
      "XDC_RPC_URL needs PROOF_OF_COMPUTE_ADDRESS and RECORDER_KEYSTORE (or RECORDER_PRIVATE_KEY) beside it",
    );
  }
  return problems;
}

/** Reads flags over the environment. Prints help or a usage error, and exits, as commander does. */
export function readSettings(argv: readonly string[], environment: NodeJS.ProcessEnv, version: string): Settings {
  const program = new Command("coordinator")
    .description(
      "Coordinator of the Proof of Compute network: gives tasks to nodes, checks results, records units on-chain.",
    )
    .version(version)
    .addHelpText(
      "after",
      "\nEvery setting is also an environment variable; secrets are that only. See docs/reference/configuration.md.",
    );
  for (const [name, entry] of Object.entries(SETTINGS) as [SettingName, Setting<z.ZodType>][]) {
    if (entry.secret) continue;
    const isFlag = entry.default === "true" || entry.default === "false";
    const shown = entry.default === undefined ? "" : ` (default ${entry.default})`;
    program.option(`${flagOf(name)} ${isFlag ? "[true|false]" : "<value>"}`, `${entry.description}${shown} [${name}]`);
  }
  try {
    refuseSecretArguments(argv.slice(2));
  } catch (error) {
    throw error instanceof SecretGiven ? new ConfigError(error.message) : error;
  }
  program.parse(argv as string[]);
  const options = program.opts<Record<string, string | true>>();
  const text: Record<string, string | undefined> = {};
  for (const name of Object.keys(SETTINGS)) {
    const key = name.toLowerCase().replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const given = options[key];
    text[name] = given === undefined ? environment[name] : String(given);
  }
  return resolveSettings(text);
}
