import { hostPort } from "@proof-of-compute/coordinator/host-port";
import { Child } from "./children.ts";
import { KeptChild } from "./kept-child.ts";
import { dialled, type Listener, requireFree } from "./ports.ts";
import { foldersOf, type LocalSettings } from "./settings.ts";
import type { Say } from "./terminal.ts";
import { until } from "./until.ts";

/** The longest drain; then a coordinator closes. */
const DRAIN_TIMEOUT = "10s";
const STOP_MS = 15_000;

/**
 * Settings that `.env` may have for a coordinator behind a proxy, under another name. They would lock out this machine's
 * hub and daemon. They are empty instead of absent, because a coordinator reads absent ones from `.env` itself.
 */
const NOT_FOR_OTHERS = {
  GRPC_AUDIENCES: "",
  PUBLIC_GRPC_ADDRESS: "",
  PUBLIC_ORIGINS: "",
  REQUIRE_NODE_AUTHORIZATION: "",
  TLS_CERT: "",
  TLS_KEY: "",
  TRUST_PROXY: "",
};

/** A coordinator's name and addresses. */
interface Place {
  /** COORDINATOR_ID; the same in every run, so that a new run replaces the earlier one. */
  readonly id: string;
  readonly grpc: Listener;
  readonly http: Listener;
}

/** The coordinators of a network: on consecutive ports and one store; each is restarted when it dies. */
export class Coordinators {
  readonly #say: Say;
  readonly #onFailure: (error: Error) => void;
  readonly #settings: LocalSettings;
  readonly #root: string;
  readonly #places: readonly Place[];
  readonly #running: KeptChild[] = [];

  /** Calls `onFailure` when a coordinator ends before it is ready. */
  constructor(
    { say, onFailure }: { say: Say; onFailure: (error: Error) => void },
    init: { settings: LocalSettings; root: string },
  ) {
    this.#say = say;
    this.#onFailure = onFailure;
    this.#settings = init.settings;
    this.#root = init.root;
    const { grpc, http, coordinators } = init.settings;
    const beside = (listener: Listener, index: number) => ({ ...listener, port: listener.port + index });
    this.#places = Array.from({ length: coordinators }, (_, index) => ({
      id: `local-${index + 1}`,
      grpc: beside(grpc, index),
      http: beside(http, index),
    }));
  }

  /** Where nodes connect: host:port of each. */
  get grpcAddresses(): string[] {
    return this.#places.map(grpcAddressOf);
  }

  /** Address of the first coordinator's hub and REST facade. */
  get origin(): string {
    return originOf(this.#places[0]!);
  }

  /** Throws when another program uses one of their ports. */
  async requirePorts(): Promise<void> {
    for (const { http } of this.#places) await requireFree(http);
    for (const { grpc } of this.#places) await requireFree(grpc);
  }

  /** Starts all, and resolves once all answer; `env` is their common environment. */
  async start(env: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
    const { store } = this.#settings;
    this.#say("store", store.title);
    // The first one alone, so that a problem with the store or the chain is reported once.
    const [first, ...others] = this.#places;
    await this.#startOne(first!, env, signal);
    await Promise.all(others.map((place) => this.#startOne(place, env, signal)));
    const several = this.#places.length > 1;
    const lines = this.#places.map(
      (place) =>
        `${several ? `${place.id}: ` : ""}nodes connect to ${grpcAddressOf(place)}, hub and REST are at ${originOf(place)}`,
    );
    this.#say(several ? "coordinators" : "coordinator", ...lines);
  }

  /** Stops all. Safe to repeat. */
  async stop(): Promise<void> {
    await Promise.all(this.#running.map((child) => child.stop()));
  }

  /** Kills all. */
  kill(): void {
    for (const child of this.#running) child.kill();
  }

  async #startOne(place: Place, shared: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
    const { dataDir, store } = this.#settings;
    const several = this.#places.length > 1;
    const name = several ? `coordinator ${place.id}` : "coordinator";
    const program = {
      name,
      args: ["coordinator/src/main.ts"],
      env: {
        ...NOT_FOR_OTHERS,
        ...shared,
        COORDINATOR_ID: place.id,
        PEER_ADDRESS: originOf(place),
        DATA_DIR: dataDir,
        MONGODB_URI: store.kind === "mongodb" ? store.uri : "",
        GRPC_ADDRESS: hostPort(place.grpc),
        HTTP_ADDRESS: hostPort(place.http),
        DRAIN_TIMEOUT,
        LOG: "json",
      },
      stopMs: STOP_MS,
    };
    const answer = async () => ((await fetch(`${originOf(place)}/healthz`, { signal })).ok ? true : undefined);
    const child = new KeptChild(() => new Child(program, { root: this.#root, logs: foldersOf(dataDir).logs }), {
      onFailure: this.#onFailure,
      onDeath: ({ how }, pauseMs) => {
        const others = several ? "; the others go on" : "";
        this.#say("coordinator", `${place.id} ended (${how}), it starts again in ${pauseMs / 1000} s${others}`);
      },
      onRestart: () => {
        until(answer, "", signal).then(
          () => this.#say("coordinator", `${place.id} is back`),
          () => {},
        );
      },
    });
    this.#running.push(child);
    await until(answer, `the ${name} did not answer`, signal);
    child.keep();
  }
}

function originOf({ http }: Place): string {
  return `http://${hostPort(dialled(http))}`;
}

function grpcAddressOf({ grpc }: Place): string {
  return hostPort(dialled(grpc));
}
