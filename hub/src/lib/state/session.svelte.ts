import { type Address, parseAddress } from "@proof-of-compute/proto";
import type { Middleware } from "openapi-fetch";
import { createContext } from "svelte";
import { ApiError, api, type Config, call, messageOf } from "#lib/api/client.ts";
import { type Announced, connectInjected, discover } from "#lib/wallet/injected.ts";
import { signInMessage } from "#lib/wallet/sign-in-message.ts";
import type { Wallet } from "#lib/wallet/wallet.ts";

/** The wallet that was connected last: a reload reconnects it without a prompt. */
const LAST_WALLET_KEY = "proof-of-compute/last-wallet";
const SIGN_IN_VALID_MS = 5 * 60_000;

/**
 * Who uses the hub: the connected wallet and its session at the coordinator. The session is a cookie that scripts cannot
 * read. Signing in needs a wallet; staying signed in does not.
 */
export class Session {
  /** Wallets that announced themselves. */
  readonly found: Announced[] = $state([]);
  wallet = $state.raw<Wallet | null>(null);
  /** The wallet that is signed in. */
  signedInAs = $state<Address | null>(null);
  /** False until the session from before a reload is restored, if there is one. */
  ready = $state(false);
  /** Why signing out failed, if it did. */
  problem = $state<string>();
  /** Whether the dialog that chooses a wallet is open. */
  choosing = $state(false);
  readonly address = $derived(this.signedInAs ?? this.wallet?.address ?? null);

  readonly #config: Config;
  /** Any call may learn that the session is over. The pages then ask to sign in again. */
  readonly #expiry: Middleware = {
    onResponse: ({ response }) => {
      if (response.status === 401) this.signedInAs = null;
    },
  };
  #unwatch = () => {};

  constructor(config: Config) {
    this.#config = config;
  }

  /** Looks for wallets and restores the session from before a reload. The returned function ends both. */
  start(): () => void {
    api.use(this.#expiry);
    const forget = discover((announced) => {
      this.found.push(announced);
      if (!this.wallet && announced.info.rdns === localStorage.getItem(LAST_WALLET_KEY))
        void this.#reconnect(announced);
    });
    void this.#restore();
    return () => {
      api.eject(this.#expiry);
      forget();
      this.#unwatch();
    };
  }

  async connect(announced: Announced): Promise<void> {
    const wallet = await connectInjected(announced);
    if (!wallet) throw new Error(`${announced.info.name} gave no account.`);
    await this.#use(wallet);
  }

  async connectLocal(): Promise<void> {
    // Loaded on demand: it needs ethers, which is large.
    const { connectLocal } = await import("#lib/wallet/local.ts");
    await this.#use(connectLocal());
  }

  /** Signs in to the coordinator with the wallet. Throws DeclinedError or ApiError. */
  async signIn(): Promise<void> {
    const { wallet } = this;
    if (!wallet) throw new Error("Connect a wallet first.");
    const { nonce } = await call(api.GET("/api/auth/nonce"));
    const issuedAt = Date.now();
    const message = signInMessage({
      origin: SIGN_IN_ORIGIN,
      address: wallet.address,
      chainId: this.#config.signIn.chainId,
      nonce,
      issuedAt,
      expiresAt: issuedAt + SIGN_IN_VALID_MS,
    });
    const signature = await wallet.sign(message);
    const session = await call(api.POST("/api/auth/sign-in", { body: { message, signature } }));
    this.signedInAs = parseAddress(session.wallet);
  }

  /** Ends the session and forgets the wallet. The wallet's permission for this site remains: only the wallet can revoke it. */
  async signOut(): Promise<void> {
    if (await this.#endSession()) this.#drop();
  }

  async #restore(): Promise<void> {
    try {
      const { session } = await call(api.GET("/api/auth/session"));
      if (session) this.signedInAs = parseAddress(session.wallet);
      await this.#reconcile();
      if (localStorage.getItem(LAST_WALLET_KEY) === "local" && this.#config.localWallet) await this.connectLocal();
    } catch (error) {
      // Everybody starts signed out, and each page says when the coordinator does not answer.
      if (!(error instanceof ApiError)) throw error;
    } finally {
      this.ready = true;
    }
  }

  async #reconnect(announced: Announced): Promise<void> {
    const wallet = await connectInjected(announced, true).catch(() => null);
    if (wallet) await this.#use(wallet);
  }

  async #use(wallet: Wallet): Promise<void> {
    this.#unwatch();
    this.wallet = wallet;
    localStorage.setItem(LAST_WALLET_KEY, wallet.id);
    this.#unwatch = wallet.watch((address) => void this.#accountChanged(wallet, address));
    await this.#reconcile();
  }

  async #accountChanged(wallet: Wallet, address: Address | null): Promise<void> {
    if (address === wallet.address) return;
    if (!address) return this.signOut();
    const announced = this.found.find(({ info }) => info.rdns === wallet.id);
    if (announced) await this.#reconnect(announced);
  }

  /** Ends a session of another wallet than the connected one, which would show one wallet's data as the other's. */
  async #reconcile(): Promise<void> {
    if (this.signedInAs && this.wallet && this.signedInAs !== this.wallet.address) await this.#endSession();
  }

  /** Signs out if anybody is signed in. Returns whether nobody is signed in after that. */
  async #endSession(): Promise<boolean> {
    this.problem = undefined;
    if (!this.signedInAs) return true;
    try {
      await call(api.POST("/api/auth/sign-out"));
      this.signedInAs = null;
      return true;
    } catch (error) {
      this.problem = messageOf(error);
      return false;
    }
  }

  #drop(): void {
    this.#unwatch();
    this.wallet = null;
    localStorage.removeItem(LAST_WALLET_KEY);
  }
}

export const [getSession, setSession] = createContext<Session>();
export const [getConfig, setConfig] = createContext<Config>();
