/** A chain that the contract can be deployed on. */
export interface Network {
  /** As in `--network apothem`. */
  readonly name: "local" | "apothem" | "xdc";
  readonly chainId: number;
  /** Public JSON-RPC address. */
  readonly rpcUrl: string;
  /** Block explorer, without a trailing slash; absent for chains without one. */
  readonly explorerUrl?: string;
  /** Faucet for test coins; absent where coins have a price or every account has some. */
  readonly faucetUrl?: string;
  readonly title: string;
}

/** The networks with a name. Any other EVM chain works with its RPC address. */
export const NETWORKS: readonly Network[] = [
  { name: "local", chainId: 31337, rpcUrl: "http://127.0.0.1:8545", title: "Local chain" },
  {
    name: "apothem",
    chainId: 51,
    rpcUrl: "https://erpc.apothem.network",
    explorerUrl: "https://testnet.xdcscan.com",
    faucetUrl: "https://faucet.apothem.network",
    title: "XDC Apothem testnet",
  },
  {
    name: "xdc",
    chainId: 50,
    rpcUrl: "https://erpc.xinfin.network",
    explorerUrl: "https://xdcscan.com",
    title: "XDC Network",
  },
];

/** The network with that chain id, if it is one of {@link NETWORKS}. */
export function networkByChainId(chainId: number): Network | undefined {
  return NETWORKS.find((network) => network.chainId === chainId);
}

/** The network of that name, if it is one of {@link NETWORKS}. */
export function networkByName(name: string): Network | undefined {
  return NETWORKS.find((network) => network.name === name);
}
