import { GrpcServer } from "../edges/grpc/server.ts";
import { localForms } from "../net/host-port.ts";
import type { Blobs } from "../ports/blobs.ts";
import type { ResultIntake } from "../services/results/intake.ts";
import { UploadBudget } from "../services/results/uploads.ts";
import { audiencesOf } from "../settings/addresses.ts";
import type { Settings } from "../settings/table.ts";
import { readTlsFiles } from "../settings/tls-files.ts";
import type { Dispatch, DispatchInit } from "./dispatch.ts";
import { type Base, closing } from "./part.ts";

/** Milliseconds of reconnect spread that each node adds, so that 10,000 come back over 10 s. */
const SPREAD_PER_NODE_MS = 1;

/** Over how many milliseconds so many nodes are to spread their reconnects. */
export function reconnectSpread({ RECONNECT_SPREAD }: Pick<Settings, "RECONNECT_SPREAD">, nodes: number): number {
  return Math.ceil(RECONNECT_SPREAD + nodes * SPREAD_PER_NODE_MS);
}

interface Components {
  readonly dispatch: Dispatch;
  readonly intake: ResultIntake;
  readonly blobs: Blobs;
}

/** Listens for nodes. Throws UNAVAILABLE when it cannot, and ConfigError for a certificate that does not work. */
export async function openGrpc(
  base: Base,
  { dispatch: { fleet, leases, takeover }, intake, blobs }: Components,
  { settings, contract, coordinatorId }: DispatchInit & { readonly coordinatorId: string },
): Promise<{ readonly grpc: GrpcServer } & AsyncDisposable> {
  const audiences = audiencesOf(settings);
  const grpc = new GrpcServer(
    {
      ...base,
      fleet,
      leases,
      takeover,
      intake,
      blobs,
      uploads: new UploadBudget(base, { maxBytes: settings.UPLOAD_MAX_BYTES }),
    },
    {
      ...settings.GRPC_ADDRESS,
      tls: await readTlsFiles(settings),
      coordinatorId,
      heartbeatMs: settings.HEARTBEAT_INTERVAL,
      leaseMs: settings.LEASE_TIME,
      reconnectSpreadMs: (nodes) => reconnectSpread(settings, nodes),
      // Room for nodes that dial again before their old stream is known to be dead.
      maxStreams: 2 * settings.MAX_NODES,
      audiences,
      contract,
      requireAuthorization: settings.REQUIRE_NODE_AUTHORIZATION,
      nowSeconds: () => Math.floor(base.clock.now() / 1_000),
    },
  );
  await grpc.start();
  // With port 0 (tests) the names are known only now.
  if (!settings.GRPC_AUDIENCES) {
    for (const name of localForms({ ...settings.GRPC_ADDRESS, port: grpc.port })) audiences.add(name.toLowerCase());
  }
  return { grpc, ...closing(base, "node stream", () => grpc.stop()) };
}
