import { expect, test } from "vitest";
import { localForms } from "./host-port.ts";

test("a listener on loopback, or on every address, has all local names", () => {
  expect(localForms({ host: "0.0.0.0", port: 1 })).toEqual(["0.0.0.0:1", "127.0.0.1:1", "localhost:1", "[::1]:1"]);
  expect(localForms({ host: "10.0.0.7", port: 1 })).toEqual(["10.0.0.7:1"]);
});
