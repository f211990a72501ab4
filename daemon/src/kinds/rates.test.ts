import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { recordingLogger, temporaryFolder } from "@proof-of-compute/tests/support/daemon/daemon";
import { ScriptedExecutor } from "@proof-of-compute/tests/support/daemon/scripted-executor";
import { beforeEach, describe, expect, test } from "vitest";
import { measureRates, RATES_FILE } from "./rates.ts";

describe("the rates of kinds", () => {
  let dataDir: string;
  let executor: ScriptedExecutor;
  const { logger, lines } = recordingLogger();
  beforeEach(async () => {
    dataDir = await temporaryFolder();
    executor = new ScriptedExecutor();
  });
  const measure = (anew = false) => measureRates({ executors: [executor], logger }, { dataDir, anew });

  test("are measured once, and again when asked", async () => {
    expect(await measure()).toEqual(new Map([["echo", 1_000]]));
    executor.unitsPerSecond = 2_000;
    expect(await measure()).toEqual(new Map([["echo", 1_000]]));
    expect(executor.measurements).toBe(1);
    expect(await measure(true)).toEqual(new Map([["echo", 2_000]]));
    expect(await measure()).toEqual(new Map([["echo", 2_000]]));
    expect(executor.measurements).toBe(2);
  });

  test("are whole numbers and never 0, as the wire needs them", async () => {
    executor.unitsPerSecond = 0.3;
    expect(await measure()).toEqual(new Map([["echo", 1]]));
    executor.unitsPerSecond = 2.6;
    expect(await measure(true)).toEqual(new Map([["echo", 3]]));
  });

  test("are measured again for another executor, and on another machine", async () => {
    await measure();
    executor.rateKey = "another program";
    await measure();
    expect(executor.measurements).toBe(2);
    const file = join(dataDir, RATES_FILE);
    const kept = JSON.parse(await readFile(file, "utf8"));
    await writeFile(file, JSON.stringify({ echo: { ...kept.echo, key: "another machine" } }));
    await measure();
    expect(executor.measurements).toBe(3);
  });

  test.each(["{", "null", JSON.stringify({ key: "as before kinds", unitsPerSecond: 1 })])(
    "are measured again when their file is damaged: %s",
    async (content) => {
      const file = join(dataDir, RATES_FILE);
      await writeFile(file, content);
      expect(await measure()).toEqual(new Map([["echo", 1_000]]));
      expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({ echo: { unitsPerSecond: 1_000 } });
    },
  );

  test("of unknown kinds stay in the file", async () => {
    const file = join(dataDir, RATES_FILE);
    const other = { key: "a newer version", unitsPerSecond: 7 };
    await writeFile(file, JSON.stringify({ other }));
    await measure();
    expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({ other, echo: { unitsPerSecond: 1_000 } });
  });

  test("are measured at every start when they cannot be kept", async () => {
    // It can be neither read nor written, whoever asks.
    await mkdir(join(dataDir, RATES_FILE));
    expect(await measure()).toEqual(new Map([["echo", 1_000]]));
    expect(lines.map(({ level, msg }) => [level, msg])).toContainEqual([
      40,
      "cannot keep the measured speed: the next start measures it again",
    ]);
  });
});
