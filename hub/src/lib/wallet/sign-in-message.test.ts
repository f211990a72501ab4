import { SiweMessage } from "siwe";
import { expect, it } from "vitest";
import { signInMessage } from "./sign-in-message.ts";

it("is read by siwe as what was meant", () => {
  const issuedAt = Date.UTC(2026, 10, 22, 12, 0, 0);
  const text = signInMessage({
    origin: "https://hub.example.org:8443",
    address: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    chainId: 51,
    nonce: "k3m9x2v8q1z7w5t4",
    issuedAt,
    expiresAt: issuedAt + 300_000,
  });
  const message = new SiweMessage(text);
  expect(message).toMatchObject({
    domain: "hub.example.org:8443",
    address: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    uri: "https://hub.example.org:8443",
    version: "1",
    chainId: 51,
    nonce: "k3m9x2v8q1z7w5t4",
    issuedAt: "2026-11-22T12:00:00.000Z",
    expirationTime: "2026-11-22T12:05:00.000Z",
  });
  expect(message.prepareMessage()).toBe(text);
});
