import { GrpcServer } from "../edges/grpc/server.ts";
import { localForms } from "../net/host-port.ts";
import type { Blobs } from "../ports/blobs.ts";
import type { ResultIntake } from "../services/results/intake.ts";
import { audiencesOf } from "../settings/addresses.ts";
import { readTlsFiles } from "../settings/tls-files.ts";
import type { DispatchInit, DispatchPart } from "./dispatch.ts";
import { type Base, closing } from "./part.ts";

interface Components {
  readonly dispatch: Pick<DispatchPart, "leases" | "sessions">;
  readonly intake: ResultIntake;
  readonly blobs: Blobs;
}

/** Listens for nodes. Throws UNAVAILABLE when it cannot, and ConfigError for a certificate that does not work. */
export async function openGrpc(
  base: Base,
  { dispatch: { leases, sessions }, intake, blobs }: Components,
  { settings, contract }: DispatchInit,
): Promise<{ readonly grpc: GrpcServer } & AsyncDisposable> {
  const audiences = audiencesOf(settings);
  const grpc = new GrpcServer(
    {
      ...base,
      leases,
      sessions,
      intake,
      blobs,
    },
    {
      ...settings.GRPC_ADDRESS,
      tls: await readTlsFiles(settings),
      heartbeatMs: settings.HEARTBEAT_INTERVAL,
      // Twice as many, for nodes that dial again before their old stream is known to be dead.
      maxStreams: 2 * settings.MAX_NODES,
      audiences,
      kinds: base.kinds,
      contract,
      requireAuthorization: settings.REQUIRE_NODE_AUTHORIZATION,
      nowSeconds: () => Math.floor(base.clock.now() / 1_000),
    },
  );
  await grpc.start();
  // With port 0 (tests) the port is known only now.
  if (!settings.GRPC_AUDIENCES) {
    for (const name of localForms({ ...settings.GRPC_ADDRESS, port: grpc.port })) audiences.add(name.toLowerCase());
  }
  return { grpc, ...closing(base, "node stream", () => grpc.stop()) };
}
