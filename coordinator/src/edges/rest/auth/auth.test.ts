import { toXdcAddress } from "@proof-of-compute/proto";
import { echoRequest } from "@proof-of-compute/tests/support/echo/coordinator";
import { cookies, ORIGIN, type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { Wallet } from "ethers";
import { afterEach, beforeEach, expect, test } from "vitest";

const MINUTE = 60_000;
let rest: RestHarness;
beforeEach(async () => {
  rest = await startRest();
});
afterEach(() => rest.stop());

const sessionOf = async (cookie: string) => (await rest.get("/api/auth/session", cookie)).json().session;

test("a wallet's signature opens a session for a day", async () => {
  const { cookie, wallet } = await rest.signIn();
  const expiresAt = rest.clock.now() + 24 * 60 * MINUTE;
  const address = wallet.address as `0x${string}`;
  expect(await sessionOf(cookie)).toEqual({ wallet: address, xdcWallet: toXdcAddress(address), expiresAt });
  rest.clock.advance(24 * 60 * MINUTE - 1);
  expect(await sessionOf(cookie)).not.toBeNull();
  rest.clock.advance(1);
  expect(await sessionOf(cookie)).toBeNull();
});

test("hides the session cookie from scripts and other sites, and marks it Secure behind HTTPS", async () => {
  const { nonce, cookie } = await rest.askNonce();
  const response = await rest.sendSignIn(await rest.signed(Wallet.createRandom(), { nonce }), cookie);
  const [session] = [response.headers["set-cookie"] ?? []].flat();
  expect(session).toMatch(/^poc_session=.*; Max-Age=86400; Path=\/; HttpOnly; SameSite=Strict$/);

  const proxied = await startRest({ init: { trustProxy: 1 } });
  try {
    const headers = { "x-forwarded-proto": "https" };
    const { headers: answer } = await proxied.app.inject({ url: "/api/auth/nonce", headers });
    expect(String(answer["set-cookie"])).toContain("; Secure");
  } finally {
    await proxied.stop();
  }
});

const at = (offset: number) => new Date(rest.clock.now() + offset).toISOString();

test.each<[string, () => Record<string, unknown>, string]>([
  ["another domain", () => ({ domain: "evil.example" }), "domain evil.example"],
  ["another site's URI", () => ({ uri: "https://evil.example" }), "https://evil.example"],
  ["another scheme", () => ({ uri: "http://hub.example" }), "http://hub.example"],
  ["another scheme in front of the domain", () => ({ scheme: "http" }), "http:"],
  ["another chain", () => ({ chainId: 50 }), "chain 50"],
  ["a nonce that nobody gave", () => ({ nonce: "0123456789abcdef" }), "nonce"],
  ["an issue time ahead", () => ({ issuedAt: at(2 * MINUTE) }), "future"],
  ["an issue time long ago", () => ({ issuedAt: at(-10 * MINUTE) }), "too long ago"],
  ["an expiry that has passed", () => ({ expirationTime: at(-1) }), "expired"],
  ["a validity that has not begun", () => ({ notBefore: at(2 * MINUTE) }), "not valid yet"],
])("a message with %s is refused", async (_name, fields, detail) => {
  const { nonce, cookie } = await rest.askNonce();
  const response = await rest.sendSignIn(await rest.signed(Wallet.createRandom(), { nonce, ...fields() }), cookie);
  expect(response.json()).toMatchObject({
    status: 401,
    code: "SIGN_IN_REFUSED",
    detail: expect.stringContaining(detail),
  });
  expect(cookies(response.headers["set-cookie"])).not.toContain("poc_session");
});

test.each<[string, (body: { message: string; signature: string }) => unknown, string]>([
  ["is not EIP-4361", (body) => ({ ...body, message: "let me in" }), "SIGN_IN_REFUSED"],
  [
    "was changed after signing",
    (body) => ({ ...body, message: body.message.replace("Sign in", "Log in") }),
    "SIGN_IN_REFUSED",
  ],
  ["has a signature of zeros", (body) => ({ ...body, signature: `0x${"0".repeat(130)}` }), "SIGN_IN_REFUSED"],
  ["has a short signature", (body) => ({ ...body, signature: "0x12" }), "INVALID_REQUEST"],
  ["comes with unknown fields", (body) => ({ ...body, remember: true }), "INVALID_REQUEST"],
  ["is too long", (body) => ({ ...body, message: "x".repeat(5000) }), "INVALID_REQUEST"],
])("a sign-in whose message %s is refused", async (_name, change, code) => {
  const { nonce, cookie } = await rest.askNonce();
  const body = await rest.signed(Wallet.createRandom(), { nonce });
  expect((await rest.sendSignIn(change(body) as object, cookie)).json()).toMatchObject({ code });
});

test("refuses a signature of another wallet than the message names", async () => {
  const { nonce, cookie } = await rest.askNonce();
  const { message } = await rest.signed(Wallet.createRandom(), { nonce });
  const signature = await Wallet.createRandom().signMessage(message);
  const response = await rest.sendSignIn({ message, signature }, cookie);
  expect(response.json()).toMatchObject({
    code: "SIGN_IN_REFUSED",
    detail: expect.stringContaining("not from the wallet"),
  });
});

test("a nonce works once, for five minutes, in the browser that requested it", async () => {
  const wallet = Wallet.createRandom();
  const first = await rest.askNonce();
  const body = await rest.signed(wallet, { nonce: first.nonce });
  const other = await rest.askNonce();
  const elsewhere = await rest.sendSignIn(body, other.cookie);
  expect(elsewhere.json()).toMatchObject({
    code: "SIGN_IN_REFUSED",
    detail: expect.stringContaining("another browser"),
  });
  // Nor without a cookie.
  expect((await rest.sendSignIn(body, "")).json().detail).toContain("another browser");

  const again = await rest.signed(wallet, { nonce: other.nonce });
  expect((await rest.sendSignIn(again, other.cookie)).statusCode).toBe(200);
  expect((await rest.sendSignIn(again, other.cookie)).json().detail).toContain("used or has expired");

  const late = await rest.askNonce();
  rest.clock.advance(5 * MINUTE);
  const response = await rest.sendSignIn(await rest.signed(wallet, { nonce: late.nonce }), late.cookie);
  expect(response.json().detail).toContain("used or has expired");
});

test("a nonce is used up by one signature, right or wrong", async () => {
  const { nonce, cookie } = await rest.askNonce();
  const body = await rest.signed(Wallet.createRandom(), { nonce });
  const wrong = await Wallet.createRandom().signMessage(body.message);
  expect((await rest.sendSignIn({ ...body, signature: wrong }, cookie)).json().detail).toContain("not from the wallet");
  expect((await rest.sendSignIn(body, cookie)).json().detail).toContain("used or has expired");
});

test("one cookie cannot stand in for another", async () => {
  const { nonce, cookie } = await rest.askNonce();
  expect(await sessionOf(cookie.replace("poc_nonce=", "poc_session="))).toBeNull();
  const session = (await rest.signIn()).cookie.replace("poc_session=", "poc_nonce=");
  const body = await rest.signed(Wallet.createRandom(), { nonce });
  expect((await rest.sendSignIn(body, session)).json().detail).toContain("another browser");
});

test("signing out ends the session for every copy of its cookie", async () => {
  const { cookie } = await rest.signIn();
  const headers = { cookie, origin: ORIGIN };
  const response = await rest.app.inject({ method: "POST", url: "/api/auth/sign-out", headers });
  expect([response.statusCode, response.body]).toEqual([204, ""]);
  expect(String(response.headers["set-cookie"])).toMatch(/^poc_session=;.*Expires=Thu, 01 Jan 1970/);
  expect(await sessionOf(cookie)).toBeNull();
  expect((await rest.dispatch(cookie)).statusCode).toBe(401);
});

test("refuses a session cookie that was changed or forged", async () => {
  const { cookie } = await rest.signIn();
  // Of another network: its coordinators share another secret.
  const stranger = await startRest();
  try {
    const forged = (await stranger.signIn()).cookie;
    const session = { id: "x", wallet: Wallet.createRandom().address, expiresAt: rest.clock.now() + MINUTE };
    const unsigned = `poc_session=${Buffer.from(JSON.stringify(session)).toString("base64url")}`;
    for (const value of [forged, unsigned, `${cookie}x`, "poc_session=", "poc_session=%%%"]) {
      expect(await sessionOf(value)).toBeNull();
    }
  } finally {
    await stranger.stop();
  }
});

test.each([
  ["another origin", { origin: "https://evil.example" }],
  ["the null origin", { origin: "null" }],
  ["the right host by http", { origin: "http://hub.example" }],
  ["a cross-site fetch", { "sec-fetch-site": "cross-site" }],
  ["a sibling domain", { "sec-fetch-site": "same-site" }],
])("a POST from %s is refused", async (_name, headers) => {
  const { cookie } = await rest.signIn();
  for (const url of ["/api/node/dispatch-task", "/api/auth/sign-in", "/api/auth/sign-out"]) {
    const response = await rest.app.inject({
      method: "POST",
      url,
      headers: { cookie, ...headers },
      payload: echoRequest(),
    });
    expect(response.json()).toMatchObject({ status: 403, code: "CROSS_SITE" });
  }
  expect(await sessionOf(cookie)).not.toBeNull();
});

test.each([
  ["the site itself", { origin: ORIGIN, "sec-fetch-site": "same-origin" }],
  ["a program, which sends neither header", {}],
])("a POST from %s is accepted", async (_name, headers) => {
  const { cookie } = await rest.signIn();
  const url = "/api/node/dispatch-task";
  expect(
    (await rest.app.inject({ method: "POST", url, headers: { cookie, ...headers }, payload: echoRequest() }))
      .statusCode,
  ).toBe(202);
});

test.each([
  ["127.0.0.1", "http://localhost:3000", 202],
  ["127.0.0.1", "http://127.0.0.1:3000", 202],
  ["0.0.0.0", "http://[::1]:3000", 202],
  ["127.0.0.1", "http://localhost:3001", 403],
  ["2001:db8::1", "http://[2001:db8::1]:3000", 202],
  ["2001:db8::1", "http://localhost:3000", 403],
  ["hub.internal", "http://hub.internal:3000", 202],
])("listening on %s:3000, a POST from %s is answered %i", async (host, origin, status) => {
  const local = await startRest({ init: { publicOrigins: [], address: { host, port: 3000 } } });
  try {
    const { nonce, cookie } = await local.askNonce();
    const [own] = status === 202 ? [origin] : ["http://127.0.0.1:3000"];
    const site = host.startsWith("2001") ? "http://[2001:db8::1]:3000" : own!;
    const body = await local.signed(Wallet.createRandom(), { nonce, domain: new URL(site).host, uri: site });
    const url = "/api/auth/sign-in";
    const signedIn = await local.app.inject({ method: "POST", url, headers: { cookie }, payload: body });
    const headers = { cookie: cookies(signedIn.headers["set-cookie"]), origin };
    const dispatched = await local.app.inject({
      method: "POST",
      url: "/api/node/dispatch-task",
      headers,
      payload: echoRequest(),
    });
    expect(dispatched.statusCode).toBe(status);
  } finally {
    await local.stop();
  }
});

test("without a chain the message names chain 1, as /api/config says", async () => {
  const local = await startRest({ init: { network: { name: "none" } } });
  try {
    const { chainId } = (await local.get("/api/config")).json().signIn;
    expect(chainId).toBe(1);
    const { nonce, cookie } = await local.askNonce();
    const body = await local.signed(Wallet.createRandom(), { nonce, chainId });
    expect((await local.sendSignIn(body, cookie)).statusCode).toBe(200);
  } finally {
    await local.stop();
  }
});

test("logs no cookies, signatures or queries", async () => {
  const { cookie } = await rest.signIn();
  await rest.get("/api/tasks?cursor=secret-in-a-query", cookie);
  const log = JSON.stringify(rest.logged);
  expect(log).toContain("signed in");
  expect(log).not.toContain("secret-in-a-query");
  expect(log).not.toContain(cookie.split("=")[1]!.slice(0, 20));
});
