import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { computeProduct, matmulSeed } from "@proof-of-compute/proto/kinds/matmul";
import type { MatmulSpec } from "@proof-of-compute/proto/task";
import { recordingLogger, temporaryFolder } from "@proof-of-compute/tests/support/daemon/daemon";
import { ScriptedExecutor } from "@proof-of-compute/tests/support/daemon/scripted-executor";
import { beforeEach, describe, expect, test } from "vitest";
import { DaemonError } from "../errors.ts";
import type { Execution, Work } from "./kind.ts";
import { MatmulExecutor } from "./matmul/executor.ts";
import { threadRate } from "./rates.ts";

/** Computes at once, and keeps its executions; `spoil` may change what it computed. */
class CountingExecutor extends ScriptedExecutor {
  spoil: (output: Uint8Array) => void = () => {};

  override execute(work: Work): Execution {
    const execution = super.execute(work);
    const output = computeProduct({ seed: matmulSeed(work), ...(work.spec.kind!.value as MatmulSpec) })!;
    this.spoil(output);
    this.executions.at(-1)!.finish(output);
    return execution;
  }
}

describe("a thread's rate", () => {
  let dataDir: string;
  let executor: CountingExecutor;
  const { logger, lines } = recordingLogger();
  beforeEach(async () => {
    dataDir = await temporaryFolder();
    executor = new CountingExecutor();
  });
  const rate = (anew = false) => threadRate({ executor, logger }, { dataDir, anew, measureMs: 0 });

  test("is measured by real tasks of the real executor", async () => {
    const real = new MatmulExecutor({ threads: 1 });
    try {
      const measured = await threadRate({ executor: real, logger }, { dataDir, anew: false, measureMs: 10 });
      expect(measured).toBeGreaterThan(0);
      expect(Number.isInteger(measured)).toBe(true);
    } finally {
      await real.stop();
    }
  });

  test("is measured once, and again when asked", async () => {
    const first = await rate();
    const probes = executor.executions.length;
    expect(probes).toBeGreaterThan(0);
    expect(await rate()).toBe(first);
    expect(executor.executions).toHaveLength(probes);
    await rate(true);
    expect(executor.executions.length).toBeGreaterThan(probes);
  });

  test("is measured again on another machine, and when its file is damaged", async () => {
    const first = await rate();
    const file = join(dataDir, "rate.json");
    const kept = JSON.parse(await readFile(file, "utf8"));
    for (const content of [JSON.stringify({ ...kept, key: "another", unitsPerSecond: first + 1 }), "{", "null"]) {
      const before = executor.executions.length;
      await writeFile(file, content);
      expect(await rate()).toBeGreaterThan(0);
      expect(executor.executions.length).toBeGreaterThan(before);
      expect(JSON.parse(await readFile(file, "utf8")).key).toBe(kept.key);
    }
  });

  test("needs no disk, only takes its time at the next start again without one", async () => {
    // Neither read nor written, whoever asks.
    await mkdir(join(dataDir, "rate.json"));
    expect(await rate()).toBeGreaterThan(0);
    expect(lines.map(({ level, msg }) => [level, msg])).toContainEqual([40, "cannot keep the measured rate"]);
  });

  test("is none on a machine that computes wrong products", async () => {
    executor.spoil = (output) => {
      output[77] = (output[77]! + 1) % 251;
    };
    await expect(rate()).rejects.toThrow(DaemonError);
    executor.spoil = () => {};
    expect(await rate()).toBeGreaterThan(0);
  });
});
