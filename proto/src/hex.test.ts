import { expect, test } from "vitest";
import * as node from "./hex.node.ts";
import * as web from "./hex.web.ts";

test.each([node, web])("writes bytes as lower-case hex, and of a view only what it shows", ({ toHex }) => {
  expect(toHex(new Uint8Array())).toBe("0x");
  expect(toHex(Uint8Array.from({ length: 256 }, (_, byte) => byte).subarray(1, 255))).toMatch(/^0x010203.*0f10.*fdfe$/);
  expect(toHex(Uint8Array.of(0, 10, 171, 255))).toBe("0x000aabff");
});
