import { readFile } from "node:fs/promises";
import { type Address, type Hex, recoverNodeAuthorization } from "@proof-of-compute/proto";
import axe from "axe-core";
import { SiweMessage } from "siwe";
import { describe, expect, it } from "vitest";
import { api, button, connectLocal, context, openContext, page, signIn, useHub } from "./harness.ts";
import { type Call, problem } from "./scripted-api.ts";
import { batch, CONTRACT, chain, config, hex, network, node, OTHER_WALLET, stages } from "./scripts.ts";

useHub();

const taskState = (state: string) => page.locator(`[data-testid=task-state][data-state=${state}]`);

interface WalletRequest {
  readonly method: string;
  readonly params?: readonly unknown[];
}

/** Puts a wallet into the browser that announces itself, knows no XDC chain, and signs when it `approves`. */
async function announceWallet() {
  const wallet = { approves: true, requests: [] as WalletRequest[] };
  await context.exposeFunction("answer", (request: WalletRequest) => {
    wallet.requests.push(request);
    if (request.method === "wallet_switchEthereumChain") return { code: 4902, message: "Unknown chain." };
    if (request.method === "wallet_addEthereumChain") return { result: null };
    return wallet.approves ? { result: `0x${"12".repeat(65)}` } : { code: 4001, message: "User rejected the request." };
  });
  await page.addInitScript((first) => {
    const target = globalThis as unknown as EventTarget & {
      answer(request: WalletRequest): Promise<{ result?: unknown; code?: number; message?: string }>;
    };
    const listeners: Record<string, (argument: unknown) => void> = {};
    let account = first.toLowerCase();
    const provider = {
      async request(request: WalletRequest) {
        if (request.method === "eth_accounts" || request.method === "eth_requestAccounts") return [account];
        const { result, code, message } = await target.answer(request);
        if (code === undefined) return result;
        throw Object.assign(new Error(message), { code });
      },
      on: (event: string, listener: (argument: unknown) => void) => {
        listeners[event] = listener;
      },
      removeListener: (event: string) => delete listeners[event],
    };
    const info = { uuid: "1", name: "Test Wallet", rdns: "org.example.wallet", icon: "data:image/svg+xml,<svg/>" };
    const announce = () =>
      target.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail: Object.freeze({ info, provider }) }));
    target.addEventListener("eip6963:requestProvider", announce);
    announce();
    Object.assign(globalThis, {
      changeAccount(next: string) {
        account = next.toLowerCase();
        listeners.accountsChanged?.([account]);
      },
    });
  }, OTHER_WALLET);
  return wallet;
}

/** Scripts a task that is dispatched, and gives what sends its next view to the page. */
function scriptTask(wallet: string) {
  const views = stages(wallet);
  let send: (view: unknown) => void = () => {};
  let current: unknown = views.queued;
  const requests: Call[] = [];
  api
    .on("POST /api/node/dispatch-task", (call) => {
      requests.push(call);
      return { status: 202, body: current };
    })
    .on("GET /api/tasks/*", () => ({ body: current }))
    .on("GET /api/tasks/*/events", () => ({
      events: (write) => {
        send = write;
        write(current);
      },
    }));
  return {
    views,
    requests,
    become(view: unknown) {
      current = view;
      send(view);
    },
  };
}

describe("wallet and session", () => {
  it("signs in with a message that siwe accepts, stays signed in over a reload, and signs out", async () => {
    let signed: { message: string; signature: string } | undefined;
    const accept = api.routes.get("POST /api/auth/sign-in")!;
    api.on("POST /api/auth/sign-in", (call) => {
      signed = call.body as typeof signed;
      return accept(call);
    });
    const wallet = await signIn();

    const message = new SiweMessage(signed!.message);
    const { success } = await message.verify({
      signature: signed!.signature,
      nonce: "k3m9x2v8q1z7w5t4",
      domain: new URL(api.url).host,
    });
    expect(success).toBe(true);
    expect(message).toMatchObject({ address: wallet, uri: api.url, chainId: 31337 });

    await page.reload();
    await button("Sign out").waitFor();
    expect(await page.locator("header [title^='0x']").getAttribute("title")).toBe(wallet);
    await button("Sign out").click();
    await button("Connect wallet").waitFor();
    expect(api.calls).toContain("POST /api/auth/sign-out");
  });

  it("says why a sign-in was refused, and lets one try again", async () => {
    const accept = api.routes.get("POST /api/auth/sign-in")!;
    api.on("POST /api/auth/sign-in", () => problem(401, "SIGN_IN_REFUSED", "The nonce is no longer valid."));
    await connectLocal();
    await button("Sign in").click();
    await page.getByRole("alert").getByText("The nonce is no longer valid.").waitFor();
    api.on("POST /api/auth/sign-in", accept);
    await button("Sign in").click();
    await button("Sign out").waitFor();
  });

  it("offers no local wallet elsewhere than on the local network", async () => {
    api.on("GET /api/config", () => ({
      body: config(api.url, {
        network: "apothem",
        chainId: 51,
        localWallet: false,
        explorerUrl: "https://testnet.xdcscan.com",
      }),
    }));
    await page.goto(api.url);
    await page.getByText("Test network").waitFor();
    await button("Connect wallet").click();
    await page.getByText("No wallet announced itself").waitFor();
    expect(await button("Local wallet").count()).toBe(0);
    await page.keyboard.press("Escape");
    expect(await page.getByRole("dialog").count()).toBe(0);
    expect((await page.locator(":focus").textContent())?.trim()).toBe("Connect wallet");
  });

  it("connects an announced wallet (EIP-6963), takes a no for a no, and follows a change of account", async () => {
    const wallet = await announceWallet();
    await page.goto(api.url);
    await button("Connect wallet").click();
    await button("Test Wallet").click();
    await page.getByTestId("units").waitFor();
    // A wallet gives its address in lower case; EIP-4361 and people want the checksum.
    expect(await page.locator("header [title^='0x']").getAttribute("title")).toBe(OTHER_WALLET);

    wallet.approves = false;
    await button("Sign in").click();
    await page.getByText("The wallet declined.").waitFor();
    wallet.approves = true;
    await button("Sign in").click();
    await button("Sign out").waitFor();

    const next = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
    await page.evaluate(`changeAccount("${next}")`);
    await page.locator(`header [title="${next}"]`).waitFor();
    await button("Sign in").waitFor();
    expect(api.calls).toContain("POST /api/auth/sign-out");
  });

  it("confirms a node by a signature that the coordinator accepts", async () => {
    const wallet = (await connectLocal()) as Address;
    const id = hex(32, "a1f3") as Hex;
    await button("Confirm a node").click();
    await page.getByLabel("Node id").fill(id);
    await button("Sign confirmation").click();
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByText("Save it as").click()]);
    expect(download.suggestedFilename()).toBe("node-authorization.json");
    const { issuedAt, expiresAt, signature } = JSON.parse(await readFile(await download.path(), "utf8"));
    const data = { node: id, wallet, issuedAt, expiresAt, chainId: 31337, contract: CONTRACT as Address };
    expect(recoverNodeAuthorization(data, signature)).toBe(wallet);
    expect(expiresAt - issuedAt).toBe(365 * 86_400);
  });

  it("puts an announced wallet on the contract's chain before it confirms a node", async () => {
    const wallet = await announceWallet();
    api.on("GET /api/config", () => ({ body: config(api.url, { chainId: 51, network: "apothem" }) }));
    api.on("GET /api/node/status", () => ({
      body: { wallet: OTHER_WALLET, xdcWallet: "", nodes: [node("a1f3", OTHER_WALLET, { confirmed: false })] },
    }));
    await page.goto(api.url);
    await button("Connect wallet").click();
    await button("Test Wallet").click();
    await button("unconfirmed: confirm it").click();
    await button("Sign confirmation").click();
    await page.getByText("Save it as").waitFor();

    const asked = wallet.requests.filter(({ method }) => !method.startsWith("eth_req"));
    expect(asked.map(({ method }) => method)).toEqual([
      "wallet_switchEthereumChain",
      "wallet_addEthereumChain",
      "eth_signTypedData_v4",
    ]);
    expect(asked[1]?.params).toMatchObject([{ chainId: "0x33", rpcUrls: ["https://erpc.apothem.network"] }]);
    expect(JSON.parse(asked[2]?.params?.[1] as string)).toMatchObject({
      primaryType: "NodeAuthorization",
      domain: { name: "ProofOfCompute", version: "1", chainId: 51, verifyingContract: CONTRACT },
      message: { node: hex(32, "a1f3"), wallet: OTHER_WALLET },
    });
  });

  describe("asks to sign in again when the session is over", () => {
    /** The coordinator forgets the session, as it does after a day; to sign in again goes well. */
    const endSession = () => api.routes.get("POST /api/auth/sign-out")!({} as Call);
    const unauthenticated = () => problem(401, "UNAUTHENTICATED", "Sign in with your wallet first.");

    it("as a request shows", async () => {
      await signIn();
      api.on("POST /api/node/dispatch-task", unauthenticated).on("GET /api/tasks", () => ({ body: { items: [] } }));
      await button("Request compute task").click();
      await button("Sign in").waitFor();
    });

    it("as the list of tasks shows, with nothing clicked", async () => {
      await signIn();
      await page.getByText("Nothing requested yet.").waitFor();
      await endSession();
      await button("Sign in").waitFor();
      await page.getByText("Connected, not signed in:").waitFor();
      // Not even for the moment that the first reading takes may the list say again what was so before.
      const answer = api.routes.get("GET /api/tasks")!;
      let seen: (() => void) | undefined;
      api.on("GET /api/tasks", async (call) => {
        await new Promise<void>((resolve) => {
          seen = resolve;
        });
        return answer(call);
      });
      await button("Sign in").click();
      await page.getByRole("heading", { name: "My tasks" }).waitFor();
      await expect.poll(() => seen).toBeDefined();
      expect(await page.getByText("Tasks could not be read").count()).toBe(0);
      seen?.();
      await page.getByText("Nothing requested yet.").waitFor();
    });

    it("as a task's page shows", async () => {
      const { recorded } = stages(await signIn());
      api.on("GET /api/tasks", () => ({ body: { items: [recorded] } }));
      await page.reload();
      const link = page.locator("tbody a[href^='/tasks/']");
      await link.waitFor();
      await endSession();
      await link.click();
      await button("Sign in").click();
      await taskState("recorded").waitFor();
    });

    it("as the task that is followed shows, which is followed again after that", async () => {
      const { views, become } = scriptTask(await signIn());
      api.on("GET /api/tasks", () => ({ body: { items: [] } }));
      await button("Request compute task").click();
      become(views.running);
      await taskState("running").waitFor();

      const [view, events] = ["GET /api/tasks/*", "GET /api/tasks/*/events"].map((route) => api.routes.get(route)!);
      api.on("GET /api/tasks/*", unauthenticated).on("GET /api/tasks/*/events", unauthenticated);
      api.dropConnections();
      await button("Sign in").waitFor();
      expect(await page.getByText("The live connection was lost").count()).toBe(0);

      api.on("GET /api/tasks/*", view!).on("GET /api/tasks/*/events", events!);
      await button("Sign in").click();
      become(views.recorded);
      await taskState("recorded").waitFor();
    });
  });
});

describe("compute units", () => {
  it("are read at a final block, apart from what the coordinator says", async () => {
    const rpcMethods = new Set<string>();
    const answer = chain(1_294_336n, 4711);
    api.on("POST /rpc", (call) => {
      for (const { method } of [call.body].flat() as { method: string }[]) rpcMethods.add(method);
      return answer(call);
    });
    let credited = "";
    api
      .on("GET /api/batches", () => ({ body: { items: [batch(13, { state: "included" }), batch(12)] } }))
      .on("GET /api/batches/*", ({ params }) => ({
        body: {
          ...batch(Number(params[0])),
          receipts: 2,
          credits: [
            { provider: credited, units: "16384" },
            { provider: OTHER_WALLET, units: "7" },
          ],
        },
      }));
    credited = await connectLocal();
    await page.reload();
    expect(await page.getByTestId("units").textContent()).toBe("1,294,336");
    await page.getByText("final block 4,711").waitFor();
    await page.getByText("+16,384 units").waitFor();
    expect([...rpcMethods].sort()).toEqual(["eth_call", "eth_getBlockByNumber"]);
  });

  it("say so when the chain is away, and come back", async () => {
    await connectLocal();
    api.on("POST /rpc", () => ({ status: 502 }));
    await page.reload();
    await page.getByText("The contract could not be read").waitFor();
    expect(await page.getByTestId("units").count()).toBe(0);
    api.on("POST /rpc", chain(5n));
    await button("Read again").click();
    expect(await page.getByTestId("units").textContent()).toBe("5");
  });

  it("say so when the chain is where a page may not ask", async () => {
    api.on("GET /api/config", () => ({ body: config(api.url, { rpcUrl: "http://192.168.1.20:8545/key" }) }));
    await page.goto(api.url);
    await button("Connect wallet").click();
    await button("Local wallet").click();
    await page.getByText("A page may only ask https or this machine, not http://192.168.1.20:8545.").waitFor();
  });

  it("say so when no chain is configured", async () => {
    api.on("GET /api/config", () => ({
      body: config(api.url, { network: "none", chainId: null, rpcUrl: null, contractAddress: null }),
    }));
    await page.goto(api.url);
    await button("Connect wallet").click();
    await button("Local wallet").click();
    await page.getByText("No chain is configured here").waitFor();
  });
});

describe("a task", () => {
  it("shows how long each size takes on the nodes that are online", async () => {
    await signIn();
    await page.getByText("about 16 s").waitFor();
    expect(await page.getByText(/^(under 1|about \d+) s$/).allTextContents()).toEqual([
      "under 1 s",
      "under 1 s",
      "about 1 s",
      "about 16 s",
    ]);
    api.on("GET /api/network", () => ({ body: network({ unitsPerSecond: {} }) }));
    await page.reload();
    await page.getByText("16,384 units", { exact: true }).waitFor();
    expect(await page.getByText("about 16 s").count()).toBe(0);
  });

  it("is followed from the click to its recording, when the units are read again", async () => {
    const wallet = await signIn();
    const { views, requests, become } = scriptTask(wallet);
    await button("Request compute task").click();
    await taskState("queued").waitFor();
    await page.getByText("No online node serves kind matmul.").waitFor();
    expect(requests[0]?.body).toEqual({ kind: "matmul", matmul: { n: 1024, k: 5 } });

    become(views.running);
    await taskState("running").waitFor();
    expect(await page.getByRole("progressbar").getAttribute("aria-valuenow")).toBe("42");
    become(views.verified);
    await taskState("verified").waitFor();
    await page.getByText("Freivalds").waitFor();
    become(views.batched);
    await taskState("batched").waitFor();
    api.on("POST /rpc", chain(1_310_720n));
    become(views.recorded);
    await taskState("recorded").waitFor();
    await page.getByText("1,310,720").waitFor();
    expect(await button("Cancel task").count()).toBe(0);
  });

  it("is not made twice when an answer is lost", async () => {
    const wallet = await signIn();
    const { requests } = scriptTask(wallet);
    const accept = api.routes.get("POST /api/node/dispatch-task")!;
    api.on("POST /api/node/dispatch-task", async (call) => {
      await accept(call);
      return problem(503, "UNAVAILABLE", "The store does not answer.");
    });
    await button("Request compute task").click();
    await page.getByText("The task was not accepted").waitFor();
    api.on("POST /api/node/dispatch-task", accept);
    await button("Try again").click();
    await taskState("queued").waitFor();
    await button("Request compute task").click();
    await expect.poll(() => requests.length).toBe(3);

    const [first, again, next] = requests.map(({ headers }) => headers["idempotency-key"]);
    expect(again).toBe(first);
    expect(next).not.toBe(first);
  });

  it("can be cancelled", async () => {
    const wallet = await signIn();
    const { views, become } = scriptTask(wallet);
    api.on("POST /api/tasks/*/cancel", () => {
      become(views.cancelled);
      return { body: views.cancelled };
    });
    await button("Request compute task").click();
    await button("Cancel task").click();
    await taskState("cancelled").waitFor();
  });

  it("says why it failed", async () => {
    const wallet = await signIn();
    const { views, become } = scriptTask(wallet);
    await button("Request compute task").click();
    await taskState("queued").waitFor();
    become(views.failed);
    await taskState("failed").waitFor();
    await page.getByText("3 nodes failed; the last said: OUT_OF_MEMORY").waitFor();
  });

  it("survives a lost connection, and is shown again after a reload", async () => {
    const wallet = await signIn();
    const { views, become } = scriptTask(wallet);
    api.on("GET /api/tasks", () => ({ body: { items: [views.running] } }));
    await button("Request compute task").click();
    await taskState("queued").waitFor();
    api.dropConnections();
    become(views.running);
    await taskState("running").waitFor();
    await page.reload();
    await taskState("running").waitFor();
  });

  it("has a page with its evidence, for its requester only", async () => {
    await connectLocal();
    const { id } = stages(OTHER_WALLET).recorded;
    await page.goto(`${api.url}/tasks/${id}`);
    await page.getByText("A task is shown to its requester only.").waitFor();
    await button("Sign in").click();
    await taskState("recorded").waitFor();
    for (const term of ["Spec digest", "Node", "Assignment", "Result digest", "Receipt", "Batch root", "Transaction"]) {
      await page
        .getByRole("term")
        .filter({ hasText: new RegExp(`^${term}$`) })
        .waitFor();
    }
  });

  it("that does not exist is a page that says so", async () => {
    await signIn();
    api.on("GET /api/tasks/*", () => problem(404, "NOT_FOUND", "there is no such task"));
    await page.goto(`${api.url}/tasks/${hex(16, "00")}`);
    await page.getByText("No task has this id, or it is kept no longer.").waitFor();
  });
});

describe("when the coordinator is away", () => {
  it("says so, and goes on by itself", async () => {
    api.on("GET /api/config", () => problem(503, "UNAVAILABLE", "The store does not answer."));
    await page.goto(api.url);
    await page.getByRole("heading", { name: "The coordinator is away" }).waitFor();
    api.on("GET /api/config", () => ({ body: config(api.url) }));
    await button("Connect wallet").waitFor();
  });

  it("keeps what was read and says what is missing", async () => {
    await signIn();
    await page.getByText("No node has connected with this wallet yet.").waitFor();
    api.on("GET /api/node/status", () => problem(503, "UNAVAILABLE", "The store does not answer."));
    await page.getByText("Nodes could not be read").waitFor();
    await page.getByTestId("units").waitFor();
  });
});

describe("every page, narrow and wide, dark and light", () => {
  async function inspect(where: string) {
    const overflow = await page.evaluate(
      `(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.documentElement)`,
    );
    expect(overflow, `${where}: horizontal scroll`).toBe(0);
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run());
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
    expect(found, `${where}: accessibility`).toEqual([]);
  }

  it.each([
    { width: 360, colorScheme: "dark" as const },
    { width: 1280, colorScheme: "light" as const },
  ])("fits and is accessible: $width px, $colorScheme", async ({ width, colorScheme }) => {
    await openContext({ viewport: { width, height: 800 }, colorScheme, reducedMotion: "reduce" });
    await page.goto(api.url);
    await page.getByText("21,037,056").waitFor();
    await inspect("welcome");
    await button("Connect wallet").click();
    await inspect("choice of a wallet");
    await page.keyboard.press("Escape");

    const wallet = await connectLocal();
    await inspect("connected");
    await button("Sign in").click();
    await page.getByText("Nothing requested yet.").waitFor();
    await inspect("signed in, with nothing yet");

    const { views, become } = scriptTask(wallet);
    const items = Object.values(views).map((view, at) => ({ ...view, id: at === 0 ? view.id : hex(16, `0${at}`) }));
    const nodes = [node("a1f3", wallet), node("77e0", wallet, { status: "offline", live: undefined })];
    api
      .on("GET /api/node/status", () => ({ body: { wallet, xdcWallet: "", nodes } }))
      .on("GET /api/tasks", () => ({ body: { items, cursor: "older" } }));
    await button("Request compute task").click();
    become(views.running);
    await taskState("running").waitFor();
    await inspect("running");
    become(views.failed);
    await taskState("failed").waitFor();
    await page.getByText("unconfirmed").or(page.getByText("confirmed by its wallet")).first().waitFor();
    await inspect("failed");

    become(views.recorded);
    await page.goto(`${api.url}/tasks/${views.recorded.id}`);
    await taskState("recorded").waitFor();
    await inspect("task");
    await page.goto(`${api.url}/network`);
    await page
      .getByText("awaits finality")
      .or(page.getByText("recorded", { exact: true }))
      .first()
      .waitFor();
    await inspect("network");
    const reason = "The recorder has 0.02 XDC left; a batch costs about 0.05.";
    api.on("GET /api/network", () => ({
      body: network({ settlement: { state: "stopped", reason, openBatches: 4 } }),
    }));
    await page.getByText(reason).waitFor();
    await inspect("network, settlement stopped");
    await page.goto(`${api.url}/nowhere`);
    await page.getByText("No page of the hub has this address.").waitFor();
    await inspect("not found");
  });

  it("keeps a chosen colour over a reload, from the first paint on", async () => {
    await page.goto(api.url);
    await page.getByRole("radio", { name: "Dark" }).check({ force: true });
    await page.locator("html.dark").waitFor();
    await page.reload({ waitUntil: "commit" });
    await page.waitForSelector("body");
    expect(await page.locator("html.dark").count()).toBe(1);
  });
});
