import { toXdcAddress } from "@proof-of-compute/proto";
import { z } from "zod";
import { PROBLEMS, type RestApp, type RestContext } from "../context.ts";
import { CurrentSession, NonceView, SessionView, SignInRequest } from "./schemas.ts";
import type { Session } from "./sessions.ts";

function sessionView({ wallet, expiresAt }: Session): SessionView {
  return { wallet, xdcWallet: toXdcAddress(wallet), expiresAt };
}

/** Sign-In with Ethereum: nonce, signed message, cookie. */
export function authRoutes(app: RestApp, { sessions, limits }: RestContext): void {
  const tags = ["sign-in"];
  const rateLimit = { max: limits.signInsPerMinute };

  app.get(
    "/api/auth/nonce",
    {
      schema: {
        summary: "A nonce for one sign-in",
        description: "Sets a cookie that ties the nonce to this browser. Valid once, for five minutes.",
        tags,
        response: { 200: NonceView, ...PROBLEMS },
      },
      config: { rateLimit },
    },
    async (_request, reply) => sessions.issueNonce(reply),
  );

  app.post(
    "/api/auth/sign-in",
    {
      schema: {
        summary: "Sign in with a signed EIP-4361 message",
        description:
          "Checks domain, URI, chain id, nonce, times and signature, then sets the session cookie (24 hours).",
        tags,
        body: SignInRequest,
        response: { 200: SessionView, ...PROBLEMS },
      },
      config: { rateLimit },
    },
    async (request, reply) => {
      const session = sessions.signIn(request, reply, request.body);
      request.log.info({ wallet: session.wallet }, "signed in");
      return sessionView(session);
    },
  );

  app.post(
    "/api/auth/sign-out",
    {
      schema: {
        summary: "End the session",
        tags,
        response: { 204: z.null().meta({ description: "Signed out" }), ...PROBLEMS },
      },
    },
    async (request, reply) => {
      sessions.signOut(request, reply);
      return reply.code(204).send(null);
    },
  );

  app.get(
    "/api/auth/session",
    { schema: { summary: "Who is signed in", tags, response: { 200: CurrentSession, ...PROBLEMS } } },
    async (request) => {
      const session = sessions.current(request);
      return { session: session ? sessionView(session) : null };
    },
  );
}
