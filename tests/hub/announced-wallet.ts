import { context, page } from "./harness.ts";
import { OTHER_WALLET } from "./scripts.ts";

interface WalletRequest {
  readonly method: string;
  readonly params?: readonly unknown[];
}

/** Adds a wallet to the browser that announces itself, knows no XDC chain, and signs while it `approves`. */
export async function announceWallet() {
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
