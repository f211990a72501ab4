import { HttpPeers } from "../adapters/http-peers.ts";
import type { Owner } from "../domain/owner.ts";
import type { PeerLink } from "../ports/peers.ts";
import type { Store } from "../ports/store.ts";
import { Peers } from "../services/cluster/peers.ts";
import { VERSION } from "../version.ts";
import { type Base, closing } from "./part.ts";

/** The part that connects this coordinator with the others on its store. */
export interface ClusterPart extends AsyncDisposable {
  readonly peers: Peers;
  readonly link: PeerLink;
  /** The secret by which coordinators of this store authenticate to each other. */
  readonly peerSecret: Uint8Array;
}

export interface ClusterInit {
  /** This run of this coordinator. */
  readonly self: Owner;
  /** URL at which its peers reach it. */
  readonly address: string;
  readonly leaseMs: number;
}

/** Registers this coordinator and starts its heartbeat; `link` replaces HTTP. */
export async function openCluster(
  base: Base,
  { store, link: given }: { readonly store: Store; readonly link?: PeerLink },
  { self, address, leaseMs }: ClusterInit,
): Promise<ClusterPart> {
  await using opening = new AsyncDisposableStack();
  const openLink = () => {
    const http = new HttpPeers(base, { secret: peerSecret });
    opening.use(closing(base, "link to peers", () => http.stop()));
    return http;
  };
  const peerSecret = await store.secret("peers");
  const link = given ?? openLink();
  const peers = new Peers({ ...base, store }, { self, version: VERSION, startedAt: base.clock.now(), leaseMs });
  await peers.start(address);
  opening.use(closing(base, "peers", () => peers.stop()));
  const parts = opening.move();
  return { peers, link, peerSecret, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}
