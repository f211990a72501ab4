import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Daemon, type DaemonInit } from "@proof-of-compute/daemon/daemon";
import { type Identity, newIdentity } from "@proof-of-compute/daemon/identity";
import type { Finished } from "@proof-of-compute/daemon/outbox/outbox";
import { parseEndpoint } from "@proof-of-compute/daemon/session/endpoint";
import type { Address } from "@proof-of-compute/proto";
import type { Welcome } from "@proof-of-compute/proto/node";
import { TaskSpec } from "@proof-of-compute/proto/task";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import { ScriptedCoordinator } from "./scripted-coordinator.ts";
import { ScriptedExecutor, type ScriptedSpec, scriptedMember } from "./scripted-executor.ts";

export const WALLET: Address = "0x71C7656EC7ab88b098defB751B7401B5f6d8976F";

/** Log lines as objects, and a logger that makes them. */
export function recordingLogger() {
  const lines: { level: number; msg: string; [field: string]: unknown }[] = [];
  const logger = pino({ level: "debug" }, { write: (line: string) => lines.push(JSON.parse(line)) });
  return { logger, lines };
}

/** A folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "daemon-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A scripted coordinator, on any free port by default; it stops after the test. */
export async function scriptedCoordinator(welcome: Partial<Welcome> = {}, port = 0): Promise<ScriptedCoordinator> {
  const coordinator = await new ScriptedCoordinator(welcome).start(port);
  onTestFinished(() => coordinator.stop());
  return coordinator;
}

/** Starts a daemon of these coordinators; it stops after the test. */
export async function startDaemon(
  coordinators: readonly { readonly address: string }[],
  given: Partial<DaemonInit> & { readonly identity?: Identity; readonly executor?: ScriptedExecutor } = {},
) {
  const { logger, lines } = recordingLogger();
  const executor = given.executor ?? new ScriptedExecutor();
  const identity = given.identity ?? (await newIdentity());
  const daemon = new Daemon(
    { logger, identity, executors: [executor] },
    {
      wallet: WALLET,
      coordinators: coordinators.map(({ address }) => parseEndpoint(address, { insecure: false })),
      slots: 2,
      dataDir: given.dataDir ?? (await temporaryFolder()),
      backoff: { baseMs: 1, capMs: 20 },
      ...given,
    },
  );
  await daemon.start();
  onTestFinished(() => daemon.stop());
  return { daemon, executor, identity, lines };
}

/** An assignment of a task of the kind `scripted`: by default a tiny one with an output of 4,096 bytes. */
export function assignment(spec: Partial<ScriptedSpec> = {}) {
  const member = scriptedMember({ outputBytes: 4096, memoryBytes: 65_536, tiny: true, ...spec });
  return assignmentOf({ $case: "echo", value: member });
}

/** An assignment of a task with these parameters. */
export function assignmentOf(kind: TaskSpec["kind"]) {
  const spec = TaskSpec.encode({
    chainId: 0n,
    contract: new Uint8Array(),
    requester: new Uint8Array(20).fill(1),
    deadlineUnixMs: 0n,
    kind,
  }).finish();
  return { assignmentId: randomBytes(16), taskId: randomBytes(16), spec: Buffer.from(spec) };
}

/** A made-up result with an output of that size. */
export function finished(bytes: number): Finished {
  const output = randomBytes(bytes);
  return {
    assignmentId: randomBytes(16),
    taskId: randomBytes(16),
    specDigest: randomBytes(32),
    outputDigest: createHash("sha256").update(output).digest(),
    outputBytes: bytes,
    networkId: randomBytes(28),
    output,
  };
}
