import { z } from "zod";
import { address, time } from "../schemas.ts";

/** A nonce for one sign-in, tied to the browser that requested it. */
export const NonceView = z
  .object({ nonce: z.string(), expiresAt: time("When it expires") })
  .meta({ id: "Nonce", description: "A nonce for one sign-in" });

/** Body of `POST /api/auth/sign-in`. */
export const SignInRequest = z
  .strictObject({
    message: z.string().min(1).max(4096).meta({ description: "EIP-4361 text; its domain and URI are this site's" }),
    signature: z
      .string()
      .regex(/^0x[0-9a-fA-F]{130}$/)
      .meta({ description: "EIP-191 signature of the message by the wallet's key (65 bytes)" }),
  })
  .meta({ id: "SignInRequest", description: "Sign-In with Ethereum" });

/** An open session. */
export const SessionView = z
  .object({
    wallet: address,
    xdcWallet: z.string().meta({ description: "The same wallet, written xdc…" }),
    expiresAt: time("When the session ends"),
  })
  .meta({ id: "Session", description: "Who is signed in" });
/** Answer of `GET /api/auth/session`. */
export const CurrentSession = z
  .object({ session: SessionView.nullable() })
  .meta({ id: "CurrentSession", description: "Who is signed in, or null" });

export type SessionView = z.output<typeof SessionView>;
