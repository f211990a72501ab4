import { makeError } from "ethers";
import { expect, it } from "vitest";
import { reasonOf } from "./reason.ts";

const keyed = { info: { requestUrl: "https://rpc.example/v1/the-key" } } as never;
const refused = { error: { code: -32000, message: "transaction underpriced" } } as never;

it.each([
  ["an error of ours", new Error("the file is empty"), "the file is empty"],
  ["something that is not an error", "no", "no"],
  ["a failing RPC", makeError("server response 502", "SERVER_ERROR", keyed), "server response 502"],
  ["a refusal by an RPC", makeError("could not coalesce error", "UNKNOWN_ERROR", refused), "transaction underpriced"],
  [
    "what ethers has other words for",
    makeError("replacement fee too low", "REPLACEMENT_UNDERPRICED", { info: refused } as never),
    "transaction underpriced",
  ],
  [
    "what an RPC does not compute",
    makeError("missing revert data", "CALL_EXCEPTION", { info: refused } as never),
    "transaction underpriced",
  ],
  ["a refusal by a contract", makeError("execution reverted", "CALL_EXCEPTION", keyed), "execution reverted"],
])("tells the reason of %s in a line", (_, error, reason) => {
  expect(reasonOf(error)).toBe(reason);
});
