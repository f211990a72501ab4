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
/** Ties a nonce to the browser that asked for it, so that nobody can be signed in with another's message. */
const NONCE_COOKIE = "poc_nonce";
const NONCE_MS = 5 * 60_000;
/** A wallet's clock may be wrong by so much; a message older than its nonce may be is refused anyway. */
const CLOCK_SKEW_MS = 60_000;
/** Bounds memory; 10,000 used nonces or ended sessions are far beyond what the rate limits let through. */
const CAPACITY = 10_000;

const COOKIE = { path: "/", httpOnly: true, sameSite: "strict", secure: "auto", signed: true } as const;

/** Who is signed in. */
export interface Session {
  readonly id: string;
  readonly wallet: Address;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** A nonce as its browser's cookie keeps it. */
interface IssuedNonce {
  readonly nonce: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** What a message to sign must say. */
export interface SessionsInit {
  /** Origins of this site, read anew each time. */
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
 * Sign-In with Ethereum (EIP-4361) and the signed cookie that it ends in. Everything that is needed stands in cookies
 * signed with the secret that all coordinators share, so a nonce of one is taken by another, and a session by all.
 *
 * What ended early is remembered in the memory of the coordinator where it ended. A used nonce therefore works once more
 * at another coordinator within its five minutes, for who has the signed message and the very nonce cookie of that browser,
 * which the first use deletes there. Likewise a copy of the session cookie made before the sign-out stays good at other
 * coordinators until it expires. Neither cookie can be read by scripts or is sent to other sites.
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

  /** A nonce for one sign-in by the asking browser. */
  issueNonce(reply: FastifyReply): IssuedNonce {
    // EIP-4361 wants letters and digits only.
    const issued: IssuedNonce = { nonce: randomBytes(16).toString("hex"), expiresAt: this.#clock.now() + NONCE_MS };
    this.#setCookie(reply, NONCE_COOKIE, issued, NONCE_MS);
    return issued;
  }

  /** Checks the signed message and opens a session; throws SIGN_IN_REFUSED saying what does not fit. */
  signIn(request: FastifyRequest, reply: FastifyReply, signed: { message: string; signature: string }): Session {
    const message = parse(signed.message);
    this.#checkPlace(message);
    this.#checkTime(message);
    this.#checkNonce(message.nonce, request);
    const wallet = readWallet(message.address);
    if (this.#signer(signed) !== wallet) refuse("the signature is not of the wallet that the message names");

    const session: Session = {
      id: randomBytes(16).toString("base64url"),
      wallet,
      expiresAt: this.#clock.now() + SESSION_MS,
    };
    this.#setCookie(reply, SESSION_COOKIE, session, SESSION_MS);
    reply.clearCookie(NONCE_COOKIE, COOKIE);
    return session;
  }

  /** Ends the session for good at this coordinator, wherever its cookie was copied to. */
  signOut(request: FastifyRequest, reply: FastifyReply): void {
    const session = this.current(request);
    if (session) this.#signedOut.set(session.id, true);
    reply.clearCookie(SESSION_COOKIE, COOKIE);
  }

  /** Who sent the request, if anybody is signed in. */
  current(request: FastifyRequest): Session | undefined {
    const session = this.#cookie<Session>(request, SESSION_COOKIE);
    return session && this.isOpen(session) ? session : undefined;
  }

  /** Who sent the request; throws UNAUTHENTICATED when nobody is signed in. */
  require(request: FastifyRequest): Session {
    const session = this.current(request);
    if (!session) throw new ComputeError("UNAUTHENTICATED");
    return session;
  }

  /** Whether a session has neither expired nor been signed out. */
  isOpen(session: Session): boolean {
    return session.expiresAt > this.#clock.now() && !this.#signedOut.get(session.id);
  }

  #setCookie(reply: FastifyReply, name: string, content: object, ttlMs: number): void {
    // Its name is signed too, so that no cookie of ours passes for another.
    const value = `${name}.${Buffer.from(JSON.stringify(content)).toString("base64url")}`;
    reply.setCookie(name, value, { ...COOKIE, maxAge: ttlMs / 1000 });
  }

  /** What {@link #setCookie} wrote, if the request has it and the signature is ours. */
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
    if (issued?.nonce !== nonce) refuse("the nonce was given to another browser, or by nobody; ask for a new one");
    if (issued.expiresAt <= this.#clock.now() || this.#used.get(nonce)) {
      refuse("the nonce was used or has expired; ask for a new one");
    }
    // Whatever becomes of the attempt: a signature is tried once.
    this.#used.set(nonce, true);
  }

  #signer({ message, signature }: { message: string; signature: string }): Address {
    // Not SiweMessage.verify: it checks a text that it writes anew, and prints to the console what it cannot recover.
    try {
      return verifyMessage(message, signature) as Address;
    } catch (error) {
      refuse("the signature cannot be read", error);
    }
  }
}
