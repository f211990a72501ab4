import { expect, test } from "vitest";
import { proxyFor } from "./proxy.ts";

const PROXY = { http_proxy: "http://user:word@proxy.example:3128" };

test.each(["127.0.0.1", "127.8.8.8", "localhost", "a.localhost", "[::1]"])("%s is dialled without a proxy", (host) => {
  expect(proxyFor(host, PROXY)).toBeUndefined();
  expect(proxyFor(host, { grpc_proxy: "http://proxy.example", no_proxy: "" })).toBeUndefined();
});

test("other hosts are dialled through the proxy that the environment names, without its password", () => {
  expect(proxyFor("compute.example", {})).toBeUndefined();
  expect(proxyFor("compute.example", PROXY)).toBe("proxy.example:3128");
  expect(proxyFor("10.0.0.1", { ...PROXY, https_proxy: "http://secure.example" })).toBe("secure.example:80");
  expect(proxyFor("10.0.0.1", { ...PROXY, https_proxy: "", grpc_proxy: "http://[::1]:1" })).toBe("[::1]:1");
  expect(proxyFor("10.0.0.1", { http_proxy: "socks5://proxy.example" })).toBeUndefined();
  expect(proxyFor("10.0.0.1", { http_proxy: "proxy" })).toBeUndefined();
});

test.each([
  ["compute.example", ".example", true],
  ["compute.example", "other, compute.example", true],
  ["compute.example", "*", true],
  ["compute.example", "other.example,", false],
  ["10.1.2.3", "10.0.0.0/8", true],
  ["11.1.2.3", "10.0.0.0/8", false],
  ["compute.example", "10.0.0.0/8", false],
])("%s with no_proxy %s is exempt: %s", (host, noProxy, isExempt) => {
  expect(proxyFor(host, { ...PROXY, no_proxy: noProxy }) === undefined).toBe(isExempt);
  expect(proxyFor(host, { ...PROXY, no_proxy: "nowhere", no_grpc_proxy: noProxy }) === undefined).toBe(isExempt);
});
