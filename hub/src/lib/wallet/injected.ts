import { type Address, type Hex, networkByChainId, parseAddress, toHex } from "@proof-of-compute/proto";
import { DeclinedError, type Wallet, WalletError } from "./wallet.ts";

/** The part of an EIP-1193 provider that the hub uses. */
export interface Provider {
  request(call: { method: string; params?: readonly unknown[] }): Promise<unknown>;
  on?(event: string, listener: (argument: never) => void): void;
  removeListener?(event: string, listener: (argument: never) => void): void;
}

/** A wallet that announced itself by EIP-6963. */
export interface Announced {
  readonly info: { readonly uuid: string; readonly name: string; readonly icon: string; readonly rdns: string };
  readonly provider: Provider;
}

/** Asks the installed wallets to announce themselves. Reports each once, until the returned function is called. */
export function discover(onFound: (wallet: Announced) => void): () => void {
  const seen = new Set<string>();
  const listen = (event: Event) => {
    const { info, provider } = (event as CustomEvent<Partial<Announced>>).detail;
    if (!info || !provider || seen.has(info.uuid)) return;
    seen.add(info.uuid);
    onFound({ info, provider });
  };
  window.addEventListener("eip6963:announceProvider", listen);
  window.dispatchEvent(new Event("eip6963:requestProvider"));
  return () => window.removeEventListener("eip6963:announceProvider", listen);
}

/** EIP-1193: the user rejected the request. */
const REJECTED = 4001;
/** EIP-3326: the wallet does not know the chain. */
const UNKNOWN_CHAIN = 4902;

const DOMAIN_FIELDS = [
  { name: "name", type: "string" },
  { name: "version", type: "string" },
  { name: "chainId", type: "uint256" },
  { name: "verifyingContract", type: "address" },
];

async function ask(provider: Provider, method: string, params: readonly unknown[] = []): Promise<unknown> {
  try {
    return await provider.request({ method, params });
  } catch (cause) {
    const { code, message } = cause as { code?: number; message?: string };
    if (code === REJECTED) throw new DeclinedError("You declined in the wallet.", { cause });
    throw new WalletError(message ?? "The wallet did not answer.", code, { cause });
  }
}

/** Switches the wallet to a chain. Many wallets demand that before they sign typed data for the chain. */
async function useChain(provider: Provider, id: number): Promise<void> {
  const chainId = `0x${id.toString(16)}`;
  try {
    await ask(provider, "wallet_switchEthereumChain", [{ chainId }]);
  } catch (error) {
    const network = networkByChainId(id);
    if (!(error instanceof WalletError) || error.code !== UNKNOWN_CHAIN || !network) throw error;
    await ask(provider, "wallet_addEthereumChain", [
      {
        chainId,
        chainName: network.title,
        rpcUrls: [network.rpcUrl],
        nativeCurrency: { name: "XDC", symbol: "XDC", decimals: 18 },
        ...(network.explorerUrl && { blockExplorerUrls: [network.explorerUrl] }),
      },
    ]);
  }
}

function firstOf(accounts: unknown): Address | null {
  const account = Array.isArray(accounts) ? accounts[0] : undefined;
  return typeof account === "string" ? parseAddress(account) : null;
}

/**
 * Connects an injected wallet. With `silent` there is no prompt: it succeeds only if the owner allowed this site before.
 * Resolves with null when the wallet offers no account.
 */
export async function connectInjected({ info, provider }: Announced, silent = false): Promise<Wallet | null> {
  const address = firstOf(await ask(provider, silent ? "eth_accounts" : "eth_requestAccounts"));
  if (!address) return null;
  return {
    id: info.rdns,
    name: info.name,
    address,
    async sign(message) {
      return (await ask(provider, "personal_sign", [toHex(new TextEncoder().encode(message)), address])) as Hex;
    },
    async signTypedData({ domain, types, value }) {
      await useChain(provider, Number(domain.chainId));
      const [primaryType] = Object.keys(types);
      const data = { domain, types: { EIP712Domain: DOMAIN_FIELDS, ...types }, primaryType, message: value };
      const text = JSON.stringify(data, (_, item) => (typeof item === "bigint" ? item.toString() : item));
      return (await ask(provider, "eth_signTypedData_v4", [address, text])) as Hex;
    },
    watch(onAccount) {
      const changed = (accounts: never) => onAccount(firstOf(accounts));
      const gone = () => onAccount(null);
      provider.on?.("accountsChanged", changed);
      provider.on?.("disconnect", gone);
      return () => {
        provider.removeListener?.("accountsChanged", changed);
        provider.removeListener?.("disconnect", gone);
      };
    },
  };
}
