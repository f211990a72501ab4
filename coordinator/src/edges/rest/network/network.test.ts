import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toXdcAddress } from "@proof-of-compute/proto";
import { echoRequest } from "@proof-of-compute/tests/support/echo/coordinator";
import { type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ComputeError } from "../../../domain/errors.ts";
import { KINDS } from "../../../kinds/index.ts";
import type { Store } from "../../../ports/store.ts";
import { VERSION } from "../../../version.ts";
import type { NodeView } from "./schemas.ts";

let rest: RestHarness;
beforeEach(async () => {
  rest = await startRest();
});
afterEach(() => rest.stop());

test("shows the nodes of a wallet, signed in or by address in either notation", async () => {
  const { cookie, wallet } = await rest.signIn();
  const address = wallet.address as `0x${string}`;
  expect((await rest.get("/api/node/status")).json().code).toBe("UNAUTHENTICATED");
  expect((await rest.get("/api/node/status", cookie)).json()).toMatchObject({ wallet: address, nodes: [] });
  const node = await rest.joinNode(address);
  await rest.joinNode();
  const expected = {
    wallet: address,
    xdcWallet: toXdcAddress(address),
    nodes: [{ id: node.id, status: "online", slots: 2, confirmed: false, live: { running: 0, cap: 1 } }],
  };
  for (const url of ["", `?wallet=${address}`, `?wallet=${toXdcAddress(address).toLowerCase()}`]) {
    expect((await rest.get(`/api/node/status${url}`, url === "" ? cookie : undefined)).json()).toMatchObject(expected);
  }
  await rest.clock.run(60_000, 2_500);
  const [offline] = (await rest.get("/api/node/status", cookie)).json().nodes;
  expect(offline).toMatchObject({ status: "offline" });
  expect(offline).not.toHaveProperty("live");
});

test("lists nodes by status, page by page", async () => {
  const ids = [(await rest.joinNode()).id, (await rest.joinNode()).id, (await rest.joinNode()).id].sort();
  const first = (await rest.get("/api/nodes?status=online&limit=2")).json();
  const rest_ = (await rest.get(`/api/nodes?status=online&limit=2&cursor=${first.cursor}`)).json();
  expect([...first.items, ...rest_.items].map((node: { id: string }) => node.id)).toEqual(ids);
  expect((await rest.get("/api/nodes?status=offline")).json()).toEqual({ items: [] });
});

test("shows the network in numbers", async () => {
  const { cookie } = await rest.signIn();
  const node = await rest.joinNode();
  const { id } = (await rest.dispatch(cookie, echoRequest("ab"))).json();
  await rest.dispatch(cookie);
  await rest.complete(node, id);
  rest.setSettlement({ state: "waiting", reason: "the RPC is away", openBatches: 1, recorderBalance: 5n * 10n ** 18n });
  await expect
    .poll(async () => {
      rest.clock.advance(2_000);
      return (await rest.get("/api/network")).json();
    })
    .toMatchObject({
      nodes: { online: 1, suspect: 0 },
      queue: { queued: 0, running: 1 },
      coordinators: [{ id: "first", version: VERSION, self: true }],
      tasks: { running: 1, verified: 1 },
      receipts: 1,
      unbatchedReceipts: 1,
      units: { verified: "2", recorded: "0" },
      settlement: {
        state: "waiting",
        reason: "the RPC is away",
        openBatches: 1,
        recorderBalance: "5000000000000000000",
      },
    });
});

test("the store counts at most every two seconds, however many requests arrive", async () => {
  let counted = 0;
  const store = new Proxy(rest.store, {
    get: (target, name: keyof Store) => {
      if (name === "totals" || name === "nodeCounts") counted++;
      return (target[name] as () => unknown).bind(target);
    },
  });
  const busy = await startRest({ components: { store }, beside: rest });
  try {
    await Promise.all(Array.from({ length: 20 }, () => busy.get("/api/network")));
    await busy.get("/readyz");
    expect(counted).toBe(2);
    rest.clock.advance(2_000);
    await busy.get("/api/network");
    expect(counted).toBe(4);
  } finally {
    await busy.stop();
  }
});

test("the network's rate of a kind is the median of what online nodes report", async () => {
  const pace = async () => {
    rest.clock.advance(2_000);
    return (await rest.get("/api/network")).json().unitsPerSecond;
  };
  await rest.joinNode();
  expect(await pace()).toEqual({});
  for (const rate of [900, 100, 200]) await rest.joinNode(undefined, rate);
  expect(await pace()).toMatchObject({ echo: 200 });
  const nodes: NodeView[] = (await rest.get("/api/nodes")).json().items;
  const rates = nodes.map(({ offers }) => offers.find(({ kind }) => kind === "echo")!.unitsPerSecond);
  expect(rates.sort()).toEqual([100, 200, 900, undefined]);
});

test("the configuration has the chain, the contract, and each kind's limits and presets", async () => {
  const config = (await rest.get("/api/config")).json();
  expect(config).toMatchObject({ network: "apothem", chainId: 51, grpcAddress: "127.0.0.1:50051", localWallet: false });
  expect(config.kinds.map(({ kind }: { kind: string }) => kind)).toEqual([...KINDS.names, "echo"]);
  expect(config.kinds.at(-1)).toEqual({
    kind: "echo",
    echo: { bytes: { min: 1, max: 1024 } },
    presets: [{ name: "hello", echo: { input: "0x68656c6c6f" }, units: "5", default: true }],
  });
});

test("readiness names what is wrong; settlement that is off is only mentioned", async () => {
  expect((await rest.get("/healthz")).json()).toEqual({ status: "ok", version: VERSION });
  expect((await rest.get("/readyz")).json()).toMatchObject({ ready: true, reasons: [] });
  rest.setSettlement({ state: "standby", reason: "another coordinator records", openBatches: 0 });
  expect((await rest.get("/readyz")).json()).toMatchObject({ ready: true, reasons: [] });
  rest.setSettlement({ state: "off", openBatches: 0 });
  const off = await rest.get("/readyz");
  expect([off.statusCode, off.json().reasons]).toEqual([
    200,
    ["settlement is off: no chain is configured, receipts accumulate"],
  ]);
  const broken = await startRest({
    components: {
      draining: () => true,
      store: { nodeCounts: () => Promise.reject(new ComputeError("UNAVAILABLE")) } as never,
    },
  });
  try {
    const response = await broken.get("/readyz");
    expect([response.statusCode, response.json()]).toMatchObject([
      503,
      { ready: false, reasons: ["the coordinator is shutting down", "the store is away"] },
    ]);
  } finally {
    await broken.stop();
  }
});

test.each<[string, object, number]>([
  ["this machine", {}, 200],
  ["another machine", { remoteAddress: "192.0.2.1" }, 403],
  ["a proxy on this machine", { headers: { "x-forwarded-for": "192.0.2.1" } }, 403],
  ["another machine with the token", { remoteAddress: "192.0.2.1", headers: { authorization: "Bearer secret" } }, 200],
  [
    "another machine with a wrong token",
    { remoteAddress: "192.0.2.1", headers: { authorization: "Bearer secre" } },
    403,
  ],
])("metrics for %s: %o is answered %i", async (_name, request, status) => {
  const guarded = await startRest({ init: { metricsToken: "secret" } });
  try {
    const response = await guarded.app.inject({ url: "/metrics", ...request });
    expect(response.statusCode).toBe(status);
    if (status === 200) expect(response.body).toContain("proof_of_compute_tasks_queued");
  } finally {
    await guarded.stop();
  }
});

test("measures requests by route, not by path", async () => {
  await rest.get("/api/batches/12345");
  await rest.get("/api/nothing-here");
  const { body } = await rest.get("/metrics");
  expect(body).toContain(
    'proof_of_compute_http_request_seconds_count{method="GET",route="/api/batches/:id",status="404"} 1',
  );
  expect(body).not.toContain("12345");
  expect(body).not.toContain("nothing-here");
});

test("explains how to build a missing hub, and serves it once it is built", async () => {
  const hubDirectory = join(rest.directory, "hub");
  const site = await startRest({ init: { hubDirectory } });
  try {
    const missing = await site.get("/");
    expect(missing.statusCode).toBe(503);
    expect(missing.body).toContain("npm run build --workspace hub");

    const policy = '<meta http-equiv="content-security-policy" content="script-src \'self\'">';
    await mkdir(join(hubDirectory, "_app/immutable"), { recursive: true });
    await writeFile(join(hubDirectory, "index.html"), `<!doctype html>${policy}the hub`);
    await writeFile(join(hubDirectory, "_app/immutable/start.abc.js"), "export {};");
    for (const url of ["/", "/network", "/tasks/0x12?tab=1"]) {
      const page = await site.get(url);
      expect([page.statusCode, page.body]).toEqual([200, `<!doctype html>${policy}the hub`]);
      expect(page.headers).toMatchObject({
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-cache",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "content-security-policy": "frame-ancestors 'none'",
      });
    }
    const script = await site.get("/_app/immutable/start.abc.js");
    expect(script.headers).toMatchObject({
      "cache-control": "public, max-age=31536000, immutable",
      "content-type": "application/javascript; charset=utf-8",
    });
    expect((await site.get("/_app/immutable/gone.js")).statusCode).toBe(404);
    await writeFile(join(rest.directory, "secret"), "not for the web");
    for (const url of ["/..%2fsecret", "/%2e%2e/secret", "/_app/..%2f..%2fsecret", "/..%5csecret"]) {
      expect((await site.get(url)).body).not.toContain("not for the web");
    }
    expect((await site.get("/api/nothing")).json().code).toBe("NOT_FOUND");
  } finally {
    await site.stop();
  }
});
