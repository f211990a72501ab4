import type { Node } from "../../../domain/node.ts";
import type { CoordinatorKind, CoordinatorKinds } from "../../../kinds/index.ts";
import type { SettlementStatus } from "../../../services/settlement/status.ts";
import type { RestComponents, RestInit } from "../components.ts";
import { present } from "../present.ts";
import type { ConfigView, KindConfigView, NodeView, SettlementView } from "./schemas.ts";

/** A node, with what its open session adds. */
export function nodeView(node: Node, presence: RestComponents["presence"]): NodeView {
  const live = presence.live(node.id);
  return {
    id: node.id,
    wallet: node.wallet,
    status: node.status,
    lastSeen: node.lastSeen,
    kinds: node.offers.map(({ kind }) => kind),
    slots: node.slots,
    offers: node.offers.map((offer) => ({ ...offer })),
    version: node.version,
    confirmed: node.confirmed,
    hardware: { ...node.hardware },
    ...(live && {
      live: { running: live.running, freeSlots: live.freeSlots, cap: live.cap, load: live.load },
    }),
  };
}

/** Settlement in the words of the API. */
export function settlementView(status: SettlementStatus): SettlementView {
  const { state, reason, openBatches, lastRecorded, recorderBalance } = status;
  return {
    state,
    openBatches,
    ...present({ reason, lastRecorded, recorderBalance: recorderBalance?.toString() }),
  };
}

function kindView({ name, protocol, limits, presets, toSpec }: CoordinatorKind): KindConfigView {
  return {
    kind: name,
    [name]: limits.value,
    presets: presets.map((preset) => ({
      name: preset.name,
      units: protocol.bounds(toSpec(preset.parameters)).maxUnits.toString(),
      default: preset.isDefault ?? false,
      [name]: preset.parameters,
    })),
  };
}

/** The settings that clients see. */
export type PublicSettings = Pick<RestInit, "network" | "grpcAddress" | "version" | "localWallet">;

/** What a client needs to know; it does not change while the coordinator runs. */
export function configView(init: PublicSettings, kinds: CoordinatorKinds, signInChainId: number): ConfigView {
  const { network } = init;
  return {
    network: network.name,
    chainId: network.chainId ?? null,
    rpcUrl: network.rpcUrl ?? null,
    contractAddress: network.contractAddress ?? null,
    explorerUrl: network.explorerUrl ?? null,
    grpcAddress: init.grpcAddress,
    version: init.version,
    localWallet: init.localWallet ?? false,
    signIn: { chainId: signInChainId },
    kinds: Array.from(kinds, kindView),
  };
}
