import { describe, expect, it } from "vitest";
import { publicGrpcAddress, publicRpcUrl } from "./addresses.ts";
import { resolveSettings } from "./read.ts";

const KEY = `0x${"5e".repeat(32)}`;
const CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

describe("the address that others are told", () => {
  it("is one of the node stream that a daemon can dial, or PUBLIC_GRPC_ADDRESS is wanted", () => {
    const settings = (GRPC_ADDRESS: string, rest = {}) => resolveSettings({ GRPC_ADDRESS, INSECURE: "true", ...rest });
    expect(publicGrpcAddress(settings("[::1]:0"), 7)).toEqual({ address: "[::1]:7", wanted: false });
    expect(publicGrpcAddress(settings("10.0.0.7:0"), 7)).toEqual({ address: "10.0.0.7:7", wanted: false });
    for (const anywhere of ["0.0.0.0", "[::]"]) {
      expect(publicGrpcAddress(settings(`${anywhere}:0`), 7)).toEqual({ address: `${anywhere}:7`, wanted: true });
      const named = { PUBLIC_GRPC_ADDRESS: "nodes.example:443" };
      expect(publicGrpcAddress(settings(`${anywhere}:0`, named), 7)).toEqual({
        address: "nodes.example:443",
        wanted: false,
      });
    }
  });

  it("is never this coordinator's own RPC of a public chain, which may contain a key", () => {
    const text = { PROOF_OF_COMPUTE_ADDRESS: CONTRACT, RECORDER_PRIVATE_KEY: KEY };
    const settings = resolveSettings({ ...text, XDC_RPC_URL: "https://rpc.example/v1/api-key" });
    expect(publicRpcUrl(settings, 51)).toBe("https://erpc.apothem.network");
    expect(publicRpcUrl(settings, 77)).toBeUndefined();
    expect(publicRpcUrl({ ...settings, PUBLIC_RPC_URL: "https://open.example" }, 51)).toBe("https://open.example");
    expect(publicRpcUrl({ ...settings, XDC_RPC_URL: "http://127.0.0.1:8545" }, 31337)).toBe("http://127.0.0.1:8545");
    for (const url of [
      "http://user:word@127.0.0.1:8545",
      "http://127.0.0.1:8545/v1/key",
      "http://127.0.0.1:8545/?key=1",
    ]) {
      expect(publicRpcUrl({ ...settings, XDC_RPC_URL: url }, 31337)).toBeUndefined();
      expect(publicRpcUrl({ ...settings, XDC_RPC_URL: url, PUBLIC_RPC_URL: "http://127.0.0.1:1" }, 31337)).toBe(
        "http://127.0.0.1:1",
      );
    }
  });
});
