import { fileURLToPath } from "node:url";
import { networkByChainId } from "@proof-of-compute/proto";
import { cannotListen } from "../edges/listen.ts";
import { createRest } from "../edges/rest/app.ts";
import type { RestComponents, RestInit } from "../edges/rest/components.ts";
import { hostPort } from "../net/host-port.ts";
import type { Blobs } from "../ports/blobs.ts";
import type { Store } from "../ports/store.ts";
import { TaskWatch } from "../services/watch/task-watch.ts";
import { peerAddress, publicGrpcAddress, publicRpcUrl } from "../settings/addresses.ts";
import type { Settings } from "../settings/table.ts";
import { VERSION } from "../version.ts";
import type { ClusterPart } from "./cluster.ts";
import type { DispatchInit, DispatchPart } from "./dispatch.ts";
import { type Base, closing } from "./part.ts";
import { openProofs } from "./settlement.ts";

const HUB_DIRECTORY = fileURLToPath(new URL("../../../hub/build", import.meta.url));

interface Parts {
  readonly store: Store;
  readonly blobs: Blobs;
  readonly cluster: Pick<ClusterPart, "peers" | "link" | "peerSecret">;
  readonly dispatch: Pick<DispatchPart, "scheduler" | "fleet">;
  readonly settlement: RestComponents["settlement"];
}

interface Init extends DispatchInit {
  /** The bound port of the node stream. */
  readonly grpcPort: number;
}

interface FacadeParts extends Parts {
  readonly proofs: RestComponents["proofs"];
}

/** The components of the facade, from a coordinator's parts. */
export function restComponents(
  base: Base,
  { store, blobs, cluster: { peers, link }, dispatch: { scheduler, fleet }, settlement, proofs }: FacadeParts,
): RestComponents & { readonly watch: TaskWatch } {
  const watch = new TaskWatch({ ...base, store, peers, link });
  const draining = () => scheduler.isDraining;
  return { ...base, store, blobs, scheduler, watch, peers, presence: fleet, settlement, proofs, draining };
}

/** The facade's settings. */
export async function restInit(
  { store, cluster: { peerSecret } }: Pick<Parts, "store" | "cluster">,
  { settings, contract, grpcPort }: Init,
): Promise<RestInit> {
  const chainId = contract?.chainId;
  const network = chainId === undefined ? undefined : networkByChainId(chainId);
  return {
    address: settings.HTTP_ADDRESS,
    trustProxy: settings.TRUST_PROXY,
    publicOrigins: settings.PUBLIC_ORIGINS ?? [],
    sessionSecret: await store.secret("sessions"),
    peerSecret,
    hubDirectory: HUB_DIRECTORY,
    network: {
      name: network?.name ?? (chainId === undefined ? "none" : `chain ${chainId}`),
      chainId,
      rpcUrl: publicRpcUrl(settings, chainId),
      contractAddress: contract?.address,
      explorerUrl: network?.explorerUrl,
    },
    grpcAddress: publicGrpcAddress(settings, grpcPort).address,
    version: VERSION,
    localWallet: network?.name === "local",
    metricsToken: settings.METRICS_TOKEN,
    defaultDeadlineMs: settings.TASK_DEADLINE,
  };
}

/** Serves the facade and the hub, and registers the address for peers. Throws UNAVAILABLE when it cannot listen. */
export async function openRest(
  base: Base,
  parts: Parts,
  init: Init,
): Promise<{ readonly port: number } & AsyncDisposable> {
  const { HTTP_ADDRESS } = init.settings;
  warnOfAddress(base, init);
  await using opening = new AsyncDisposableStack();
  const { proofs } = opening.use(openProofs(base, parts));
  const components = restComponents(base, { ...parts, proofs });
  const app = await createRest(components, await restInit(parts, init));
  opening.use(closing(base, "REST facade", () => app.close()));
  await app.listen(HTTP_ADDRESS).catch((error: unknown) => {
    throw cannotListen("HTTP_ADDRESS", hostPort(HTTP_ADDRESS), error);
  });
  components.watch.start();
  opening.use(closing(base, "task watch", () => components.watch.stop()));
  const port = Number(new URL(app.listeningOrigin).port || 80);
  if (port !== HTTP_ADDRESS.port) await parts.cluster.peers.moveTo(peerAddress(init.settings, port));
  const opened = opening.move();
  return { port, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

function warnOfAddress({ logger }: Base, { settings, grpcPort }: { settings: Settings; grpcPort: number }): void {
  const { address, wanted } = publicGrpcAddress(settings, grpcPort);
  if (wanted) logger.warn({ address }, "providers are told an address that they cannot dial: set PUBLIC_GRPC_ADDRESS");
}
