import { SETTINGS as COORDINATOR, flagOf } from "@proof-of-compute/coordinator/settings";
import { SETTINGS as DAEMON } from "@proof-of-compute/daemon/config";

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

/** docs/reference/configuration.md, made from the tables of settings. */
export function renderConfiguration(): string {
  const coordinator = Object.entries(COORDINATOR).map(([name, setting]) => {
    // The number depends on the machine, so show the formula.
    const fallback = name === "VERIFIER_THREADS" ? "cores - 1" : setting.default;
    const flag = "secret" in setting ? "environment only" : `\`${flagOf(name)}\``;
    return `| \`${name}\` | ${flag} | ${fallback === undefined ? "unset" : `\`${fallback}\``} | ${cell(setting.description)} |`;
  });
  const daemon = DAEMON.map((setting) => {
    const fallback = "default" in setting ? `\`${setting.default}\`` : "unset";
    return `| \`${setting.env}\` | \`${cell(setting.flag)}\` | ${fallback} | ${cell(setting.description)} |`;
  });
  return `# Configuration

\`node scripts/openapi.ts\` makes this page from \`coordinator/src/settings/table.ts\` and \`daemon/src/config.ts\`; change it there.

A flag wins over the environment, and the environment over the coordinator's \`.env\`. An empty variable is an unset one.
Write durations as \`500ms\`, \`30s\`, \`5m\`, \`1h\` or \`7d\`, addresses as \`host:port\`, wallets and contracts as \`0x…\` or
\`xdc…\`. Secrets come from the environment or from a file with mode 0600, never from a flag, because anybody on the machine can
list the flags of a process.

## Coordinator: \`npm run coordinator -- [flags]\`

Exit codes: 0 stopped as asked, 1 an internal error, 2 invalid settings, 3 something it needs is in use or unavailable (a
port, the data folder, the chain).

| variable | flag | default | meaning |
| --- | --- | --- | --- |
${coordinator.join("\n")}

## Daemon: \`npm run daemon -- --wallet-address <address> [flags]\`

\`--help\` lists the exit codes. \`--roxonn-wallet-address\` is another name of \`--wallet-address\`.

| variable | flag | default | meaning |
| --- | --- | --- | --- |
${daemon.join("\n")}
`;
}
