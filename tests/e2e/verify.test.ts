import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text as textOf } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import type { Hex } from "@proof-of-compute/proto";
import { linksOf, readReceipt } from "@proof-of-compute/proto/verify";
import { BATCH_LINKS } from "@proof-of-compute/proto/verify-batch";
import { Wallet } from "ethers";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { Requester } from "../../scripts/local/requester.ts";
import { launchBrowser } from "../support/browser.ts";
import { PATIENCE, TestNetwork } from "../support/test-network.ts";

const SCRIPTS = fileURLToPath(new URL("../../scripts/", import.meta.url));
const TASKS = 3;
const provider = Wallet.createRandom().address;

let network: TestNetwork;
let browser: Browser;
/** Ids of the recorded receipts. */
const receiptIds: Hex[] = [];
/** The file of the first one. */
let file: string;
let receipt: string;
let rpc: string;

beforeAll(async () => {
  // All of them in one batch.
  network = await TestNetwork.start({ BATCH_MAX_RECEIPTS: String(TASKS), BATCH_MAX_WAIT: "1h" });
  rpc = network.rpc.url;
  browser = await launchBrowser();
  const signal = AbortSignal.timeout(2 * PATIENCE.timeout);
  const requester = new Requester(network.origin);
  await requester.signIn(new Wallet(Wallet.createRandom().privateKey), signal);
  network.startDaemon("--wallet-address", provider, "--coordinator", network.grpcAddress);
  const tasks = await Promise.all(
    Array.from({ length: TASKS }, (_, i) =>
      requester.dispatch({ kind: "matmul", matmul: { n: 256, k: 2 + i } }, `task-${i}`, signal),
    ),
  );
  for (const { id } of tasks) {
    for await (const task of requester.follow(id, signal))
      if (task.state === "recorded") receiptIds.push(task.receiptId!);
  }
  receipt = await requester.receipt(receiptIds[0]!, signal);
  file = join(network.folder, "receipt.json");
  await writeFile(file, receipt);
});

afterAll(async () => {
  await browser?.close();
  await network?.stop();
});

/** Runs one of the programs to its end. */
async function run(script: string, ...args: string[]): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, [join(SCRIPTS, script), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const [output, errors, [code]] = await Promise.all([textOf(child.stdout), textOf(child.stderr), once(child, "exit")]);
  return { code, output: output + errors };
}

/**
 * What the coordinator serves, through a proxy that passes on only a part of every list: cut off, or ended as if it were
 * all. The list of the batch is what `keep` makes of it.
 */
async function shortened(how: "cut off" | "ended", keep: (list: string) => string): Promise<string> {
  const proxy = createServer(async (request, response) => {
    const answer = await fetch(network.origin + request.url);
    const body = await answer.text();
    response.writeHead(answer.status);
    if (answer.headers.get("content-type") !== "application/jsonl") return void response.end(body);
    response.write(keep(body), () => (how === "ended" ? response.end() : response.destroy()));
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => void proxy.close());
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
}

const firstLine = (list: string) => list.slice(0, list.indexOf("\n") + 1);

/** The status of every link that was printed. */
const statuses = (output: string) =>
  [...output.matchAll(/^ {2}(ok|FAILED|not checked) +(\S.*?) {2,}/gm)].map(([, status, name]) => [name, status]);

describe("npm run verify-receipt", () => {
  test("checks every link with the file, the chain, and the result where the file says it is", async () => {
    const { code, output } = await run("verify-receipt.ts", file, "--rpc", rpc, "--fetch");
    expect(statuses(output)).toEqual(linksOf(receipt).map(({ name }) => [name, "ok"]));
    expect([code, output.trimEnd().split("\n").at(-1)]).toEqual([0, "verified"]);
  });

  test("needs nothing but file and chain when it computes the result again", async () => {
    const { code, output } = await run("verify-receipt.ts", file, "--rpc", network.chain.url, "--recompute");
    expect([code, statuses(output).filter(([, status]) => status !== "ok")]).toEqual([0, []]);
  });

  test("takes the result from a file, and refuses another one", async () => {
    const { result } = readReceipt(receipt);
    if (!result.available) throw new Error("the result should be kept");
    const bytes = new Uint8Array(await (await fetch(result.url)).arrayBuffer());
    const right = join(network.folder, "result.bin");
    const wrong = join(network.folder, "wrong.bin");
    await writeFile(right, bytes);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(wrong, bytes);
    expect((await run("verify-receipt.ts", file, "--rpc", rpc, "--result", right)).code).toBe(0);
    const refused = await run("verify-receipt.ts", file, "--rpc", rpc, "--result", wrong);
    expect(refused.code).toBe(1);
    expect(refused.output).toContain("broken: result digest");
  });

  test("proves nothing without the chain or the result", async () => {
    expect((await run("verify-receipt.ts", file)).code).toBe(2);
    expect((await run("verify-receipt.ts", file, "--rpc", rpc)).code).toBe(2);
    const away = await run("verify-receipt.ts", file, "--rpc", "http://127.0.0.1:9", "--recompute");
    expect([away.code, statuses(away.output)[6]]).toEqual([2, ["root on chain", "not checked"]]);
  });

  test.each([
    ["units", /"units":"\d+"/, '"units":"1000"', "spec fields"],
    ["provider", /"provider":"[^"]+"/, `"provider":"0x70997970C51812dc3A010C7d01b50e0d17dc79C8"`, "node signature"],
    ["time", /"acceptedAt":\d+/, '"acceptedAt":1795305600000', "leaf"],
    ["batch", /"batch":\{"id":\d+/, '"batch":{"id":99', "root on chain"],
    ["block", /"block":\d+/, '"block":999999', "transaction"],
    ["address of the result", /"url":"[^"]+"/, '"url":"http://127.0.0.1:9/"', "checksum"],
  ])("names the first broken link of a receipt with another %s", async (_, part, replacement, link) => {
    const path = join(network.folder, "tampered.json");
    await writeFile(path, receipt.replace(part, replacement));
    const { code, output } = await run("verify-receipt.ts", path, "--rpc", rpc, "--recompute");
    expect([code, output.trimEnd().split("\n").at(-1)]).toEqual([1, `broken: ${link}`]);
  });

  test("checks an exported wallet in bulk, where one broken receipt breaks the whole", async () => {
    const path = join(network.folder, "receipts.jsonl");
    const options = ["--wallet", provider, "--coordinator", network.origin, "--output", path];
    expect(await run("export-receipts.ts", ...options)).toEqual({ code: 0, output: "" });
    const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
    expect(lines.map((line) => readReceipt(line).receipt.receiptId)).toEqual(receiptIds.toSorted());
    const bulk = await run("verify-receipt.ts", path, "--rpc", rpc, "--fetch");
    expect([bulk.code, bulk.output]).toEqual([0, expect.stringContaining(`${TASKS} receipts: ${TASKS} verified`)]);
    lines[1] = lines[1]!.replace("matmul", "matmuk");
    await writeFile(path, lines.join("\n"));
    const broken = await run("verify-receipt.ts", path, "--rpc", rpc, "--fetch");
    expect([broken.code, broken.output]).toEqual([1, expect.stringContaining("2 verified, 1 broken, 0 unproven")]);
  });

  test.each([
    ["cut off", firstLine],
    ["ended", (list: string) => list.slice(0, -1)],
  ] as const)("keeps what it has of an exported wallet when the next download is %s", async (how, keep) => {
    const folder = await mkdtemp(join(network.folder, "export-"));
    const path = join(folder, "receipts.jsonl");
    const options = ["--wallet", provider, "--output", path, "--coordinator"];
    expect((await run("export-receipts.ts", ...options, network.origin)).code).toBe(0);
    const whole = await readFile(path, "utf8");
    const { code, output } = await run("export-receipts.ts", ...options, await shortened(how, keep));
    expect([code, output]).toEqual([2, expect.stringContaining("broke off")]);
    expect([await readdir(folder), await readFile(path, "utf8")]).toEqual([["receipts.jsonl"], whole]);
  });
});

describe("npm run verify-batch", () => {
  test("checks what a coordinator publishes of every batch against the credits on the chain", async () => {
    const last = Number(await network.nextBatch()) - 1;
    const { code, output } = await run("verify-batch.ts", network.origin, "--batch", `1-${last}`, "--rpc", rpc);
    expect([code, statuses(output).filter(([, status]) => status !== "ok")]).toEqual([0, []]);
    expect(statuses(output)).toHaveLength(4 * last);
  });

  test("counts an unpublished batch as unproven", async () => {
    const { code, output } = await run("verify-batch.ts", network.origin, "--batch", "99", "--rpc", rpc);
    expect([code, output]).toEqual([2, expect.stringContaining("unproven")]);
  });

  test.each([
    ["cut off after a receipt", "cut off", firstLine, "broke off"],
    ["cut off within a receipt", "cut off", (list: string) => list.slice(0, -9), "broke off"],
    ["ended after a receipt", "ended", firstLine, `1 of ${TASKS} receipts`],
    ["ended within a receipt", "ended", (list: string) => list.slice(0, -9), "broke off"],
    ["ended before the first receipt", "ended", () => "", `0 of ${TASKS} receipts`],
  ] as const)("accuses nobody when the download is %s", async (_, how, keep, says) => {
    const { id } = readReceipt(receipt).batch!;
    const source = await shortened(how, keep);
    const { code, output } = await run("verify-batch.ts", source, "--batch", String(id), "--rpc", rpc);
    expect([code, output]).toEqual([2, expect.stringContaining(says)]);
    expect(statuses(output)).toEqual(BATCH_LINKS.map((name) => [name, "not checked"]));
  });

  test("checks a file, and finds a receipt that is there twice", async () => {
    const path = join(network.folder, "batch.jsonl");
    const { id } = readReceipt(receipt).batch!;
    const lines = await (await fetch(`${network.origin}/api/batches/${id}/receipts`)).text();
    const contract = await network.contract.getAddress();
    const options = ["--batch", String(id), "--contract", contract, "--rpc", rpc];
    await writeFile(path, lines);
    expect((await run("verify-batch.ts", path, ...options)).code).toBe(0);
    await writeFile(path, lines + lines);
    const doubled = await run("verify-batch.ts", path, ...options);
    expect([doubled.code, doubled.output]).toEqual([1, expect.stringMatching(/FAILED +duplicates/)]);
  });
});

test.each(["eth_chainId", "eth_getBlockByNumber"])("no program shows the RPC's key when %s fails", async (method) => {
  network.rpc.fault = (request) => (request.method === method ? { status: 502 } : undefined);
  onTestFinished(() => {
    network.rpc.fault = () => undefined;
  });
  const { id } = readReceipt(receipt).batch!;
  const keyed = ["--rpc", `${rpc}/v1/the-key`];
  for (const { code, output } of [
    await run("verify-receipt.ts", file, ...keyed, "--recompute"),
    await run("verify-batch.ts", network.origin, "--batch", String(id), ...keyed),
  ]) {
    expect([code, output]).toEqual([2, expect.stringContaining("502")]);
    expect(output).not.toContain("the-key");
  }
});

describe("the hub's page", () => {
  const verdict = (page: Page, which: string) => page.locator(`[data-testid=verdict][data-verdict=${which}]`).waitFor();
  const statusesOn = (page: Page) =>
    page.locator("[data-link]").evaluateAll((rows) =>
      rows.map((row) => {
        const { link, status } = (row as unknown as { dataset: Record<string, string> }).dataset;
        return [link, status];
      }),
    );

  test("checks a receipt in the browser, downloaded and computed again, and names what is broken", async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE.timeout);
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complaints.push(message.text());
    });
    await page.goto(`${network.origin}/verify?id=${receiptIds[0]}`);
    await verdict(page, "verified");
    expect(await statusesOn(page)).toEqual(linksOf(receipt).map(({ name }) => [name, "ok"]));

    const check = page.getByRole("button", { name: "Check", exact: true });
    await page.getByRole("checkbox").check();
    await check.click();
    await verdict(page, "verified");

    await page.getByLabel("Text of the receipt").fill(receipt.replace(/"units":"\d+"/, '"units":"1000"'));
    await check.click();
    await verdict(page, "broken");
    expect((await statusesOn(page)).filter(([, status]) => status === "failed")).toEqual([["spec fields", "failed"]]);

    // Without the chain nothing is proven, and nothing broken.
    await page.getByLabel("Text of the receipt").fill(receipt);
    await page.getByLabel("JSON-RPC of the chain").fill("");
    await check.click();
    await verdict(page, "unproven");
    expect(complaints).toEqual([]);
    await page.close();
  });

  test("takes a file, and checks an export line by line", async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE.timeout);
    await page.goto(`${network.origin}/verify`);
    await page.getByLabel("Choose a file").setInputFiles(file);
    await verdict(page, "verified");

    const exported = await fetch(`${network.origin}/api/receipts/export?provider=${provider}`);
    const lines = (await exported.text()).replace('"kind":"matmul"', '"kind":"wasm"');
    await page.getByLabel("Text of the receipt").fill(lines);
    await page.getByRole("button", { name: "Check", exact: true }).click();
    await verdict(page, "broken");
    const tally = await page.getByTestId("tally").textContent();
    expect(tally).toContain(`${TASKS} of ${TASKS} receipts: ${TASKS - 1} verified, 1 broken, 0 unproven`);
    await page.close();
  });
});
