import { expect, it } from "vitest";
import { refusalOf } from "./reach.ts";

const not = (where: string) => `This page can only connect over https or to this machine, not to ${where}.`;

it.each([
  ["https://erpc.apothem.network", undefined],
  ["https://192.168.1.20:8545/key", undefined],
  ["http://127.0.0.1:8545", undefined],
  ["http://localhost", undefined],
  ["http://hub.example:3000/rpc", undefined],
  ["", undefined],
  ["not a URL", undefined],
  ["http://hub.example:8545", not("http://hub.example:8545")],
  ["http://192.168.1.20:8545/key", not("http://192.168.1.20:8545")],
  ["http://user:secret@localhost.example", not("http://localhost.example")],
  ["http://127.0.0.2", not("http://127.0.0.2")],
  ["http://[::1]:8545", not("http://[::1]:8545")],
  ["ws://127.0.0.1:8546", not("ws://127.0.0.1:8546")],
])("%s", (url, refusal) => {
  expect(refusalOf(url, "http://hub.example:3000")).toBe(refusal);
});
