import { randomBytes } from "node:crypto";
import type { Address } from "@proof-of-compute/proto";
import { verifyMessage } from "ethers";
import type { FastifyReply, FastifyRequest } from "fastify";
import { SiweMessage } from "siwe";
import { ComputeError } from "../../../domain/errors.ts";
import type { Clock } from "../../../ports/clock.ts";
import { ExpiringMap } from "../limits/expiring-map.ts";
import { readWallet } from "../problems.ts";

const SESSION_COOKIE = "poc_session";
const SESSION_MS = 24 * 3_600_000;
/** Ties a nonce to the browser that requested it, so that nobody is signed in with another person's message. */
const NONCE_COOKIE = "poc_nonce";
const NONCE_MS = 5 * 60_000;
/** Tolerated error of a wallet's clock. A message older than its nonce can be is refused in any case. */
const CLOCK_SKEW_MS = 60_000;
/** Used nonces and ended sessions kept in memory, of each; far more than the rate limits let through. */
const CAPACITY = 10_000;

const COOKIE = { path: "/", httpOnly: true, sameSite: "strict", secure: "auto", signed: true } as const;

/** A signed-in wallet. */
export interface Session {
  readonly id: string;
  readonly wallet: Address;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** A nonce, as stored in the browser's cookie. */
interface IssuedNonce {
  readonly nonce: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** What a message to sign must say. */
export interface SessionsInit {
  /** Origins of this site; they may change once the server listens. */
  origins(): readonly string[];
  readonly chainId: number;
}

function refuse(detail: string, cause?: unknown): never {
  throw new ComputeError("SIGN_IN_REFUSED", detail, cause === undefined ? undefined : { cause });
}

function parse(text: string): SiweMessage {
  try {
    return new SiweMessage(text);
  } catch (error) {
    refuse("the message is not an EIP-4361 text", error);
  }
}

/**
 * Sign-In with Ethereum (EIP-4361), and the session cookie that it gives. All state is in cookies signed with the secret
 * that the coordinators share, so every coordinator accepts nonces and sessions of the others.
 *
 * Each coordinator remembers used nonces and ended sessions in its own memory. A used nonce therefore works once more at
 * another coordinator within its five minutes, for a client that has the signed message and that browser's nonce cookie,
 * which the first use deletes. Likewise, a copy of the session cookie made before the sign-out stays valid at other
 * coordinators until it expires. Scripts cannot read either cookie, and browsers do not send them to other sites.
 */
export class Sessions {
  readonly #clock: Clock;
  readonly #init: SessionsInit;
  readonly #used: ExpiringMap<true>;
  readonly #signedOut: ExpiringMap<true>;

  constructor({ clock }: { readonly clock: Clock }, init: SessionsInit) {
    this.#clock = clock;
    this.#init = init;
    this.#used = new ExpiringMap({ clock }, { ttlMs: NONCE_MS, capacity: CAPACITY });
    this.#signedOut = new ExpiringMap({ clock }, { ttlMs: SESSION_MS, capacity: CAPACITY });
  }

  /** The chain id that a message to sign must name. */
  get chainId(): number {
    return this.#init.chainId;
  }

  /** Issues a nonce for one sign-in by this browser. */
  issueNonce(reply: FastifyReply): IssuedNonce {
    // EIP-4361 allows letters and digits only.
    const issued: IssuedNonce = { nonce: randomBytes(16).toString("hex"), expiresAt: this.#clock.now() + NONCE_MS };
    this.#setCookie(reply, NONCE_COOKIE, issued, NONCE_MS);
    return issued;
  }

  /** Checks the signed message and opens a session. Throws SIGN_IN_REFUSED that says what does not match. */
  signIn(request: FastifyRequest, reply: FastifyReply, signed: { message: string; signature: string }): Session {
    const message = parse(signed.message);
    this.#checkPlace(message);
    this.#checkTime(message);
    this.#checkNonce(message.nonce, request);
    const wallet = readWallet(message.address);
    if (this.#signer(signed) !== wallet) refuse("the signature is not from the wallet that the message names");

    const session: Session = {
      id: randomBytes(16).toString("base64url"),
      wallet,
      expiresAt: this.#clock.now() + SESSION_MS,
    };
    this.#setCookie(reply, SESSION_COOKIE, session, SESSION_MS);
    reply.clearCookie(NONCE_COOKIE, COOKIE);
    return session;
  }

  /** Ends the session at this coordinator, for copies of its cookie too. */
  signOut(request: FastifyRequest, reply: FastifyReply): void {
    const session = this.current(request);
    if (session) this.#signedOut.set(session.id, true);
    reply.clearCookie(SESSION_COOKIE, COOKIE);
  }

  /** The session of the request, if there is one. */
  current(request: FastifyRequest): Session | undefined {
    const session = this.#cookie<Session>(request, SESSION_COOKIE);
    return session && this.isOpen(session) ? session : undefined;
  }

  /** The session of the request. Throws UNAUTHENTICATED when there is none. */
  require(request: FastifyRequest): Session {
    const session = this.current(request);
    if (!session) throw new ComputeError("UNAUTHENTICATED");
    return session;
  }

  /** Whether a session has neither expired nor ended. */
  isOpen(session: Session): boolean {
    return session.expiresAt > this.#clock.now() && !this.#signedOut.get(session.id);
  }

  #setCookie(reply: FastifyReply, name: string, content: object, ttlMs: number): void {
    // The name is part of the signed value, so that one cookie cannot stand in for another.
    const value = `${name}.${Buffer.from(JSON.stringify(content)).toString("base64url")}`;
    reply.setCookie(name, value, { ...COOKIE, maxAge: ttlMs / 1000 });
  }

  /** The content that {@link #setCookie} wrote, if the request carries it with a valid signature. */
  #cookie<T>(request: FastifyRequest, name: string): T | undefined {
    const cookie = request.cookies[name];
    if (cookie === undefined) return undefined;
    const { valid, value } = request.unsignCookie(cookie);
    if (!valid || !value.startsWith(`${name}.`)) return undefined;
    return JSON.parse(Buffer.from(value.slice(name.length + 1), "base64url").toString()) as T;
  }

  #checkPlace(message: SiweMessage): void {
    const origins = this.#init.origins();
    const origin = URL.canParse(message.uri) ? new URL(message.uri).origin : undefined;
    if (!origin || !origins.includes(origin))
      refuse(`the message is for ${message.uri}, this is ${origins.join(" or ")}`);
    const { host, protocol } = new URL(origin);
    if (message.domain !== host) refuse(`the message is for the domain ${message.domain}, this is ${host}`);
    if (message.scheme && `${message.scheme}:` !== protocol)
      refuse(`the message is for ${message.scheme}:, this is ${protocol}`);
    const { chainId } = this.#init;
    if (message.chainId !== chainId) refuse(`the message is for chain ${message.chainId}, this is chain ${chainId}`);
  }

  #checkTime(message: SiweMessage): void {
    const now = this.#clock.now();
    const issuedAt = Date.parse(message.issuedAt ?? "");
    if (!(issuedAt <= now + CLOCK_SKEW_MS)) refuse("the message was issued in the future; check this machine's clock");
    if (issuedAt < now - NONCE_MS - CLOCK_SKEW_MS) refuse("the message was issued too long ago; sign in again");
    if (message.expirationTime && !(now < Date.parse(message.expirationTime))) refuse("the message has expired");
    if (message.notBefore && !(Date.parse(message.notBefore) <= now + CLOCK_SKEW_MS))
      refuse("the message is not valid yet");
  }

  #checkNonce(nonce: string, request: FastifyRequest): void {
    const issued = this.#cookie<IssuedNonce>(request, NONCE_COOKIE);
    if (issued?.nonce !== nonce) refuse("the nonce belongs to another browser or does not exist; request a new one");
    if (issued.expiresAt <= this.#clock.now() || this.#used.get(nonce)) {
      refuse("the nonce was used or has expired; request a new one");
    }
    // Used up whether the signature is right or wrong.
    this.#used.set(nonce, true);
  }

  #signer({ message, signature }: { message: string; signature: string }): Address {
    // SiweMessage.verify checks a text that it generates itself, and prints failures to the console.
    try {
      return verifyMessage(message, signature) as Address;
    } catch (error) {
      refuse("the signature cannot be read", error);
    }
  }
}
