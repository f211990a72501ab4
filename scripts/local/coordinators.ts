import { hostPort } from "@proof-of-compute/coordinator/host-port";
import { Child } from "./children.ts";
import { KeptChild } from "./kept-child.ts";
import { dialled, type Listener, requireFree } from "./ports.ts";
import { foldersOf, type LocalSettings } from "./settings.ts";
import type { Say } from "./terminal.ts";
import { until } from "./until.ts";

/** Drains for 10 s at most, then closes. */
const DRAIN_TIMEOUT = "10s";
const STOP_MS = 15_000;

/**
 * What `.env` may say of a coordinator that others reach, through a proxy and under another name: it would keep this
 * machine's hub and daemon out. Empty, because a coordinator takes what is missing from `.env` itself.
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

/** One coordinator, before and after it runs. */
interface Place {
  /** COORDINATOR_ID; the same in every run, so that a new run is known to replace the earlier one. */
  readonly id: string;
  readonly grpc: Listener;
  readonly http: Listener;
}

/** The coordinators of one network: ports side by side, one store, each started again when it dies. */
export class Coordinators {
  readonly #say: Say;
  readonly #onFailure: (error: Error) => void;
  readonly #settings: LocalSettings;
  readonly #root: string;
  readonly #places: readonly Place[];
  readonly #running: KeptChild[] = [];

  /** `onFailure` is called when one ends before it was up. */
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

  /** Where the first one's hub and REST facade are. */
  get origin(): string {
    return originOf(this.#places[0]!);
  }

  /** Throws when another program listens where one of them is to. */
  async requirePorts(): Promise<void> {
    for (const { http } of this.#places) await requireFree(http);
    for (const { grpc } of this.#places) await requireFree(grpc);
  }

  /** Starts all and resolves once all answer; `env` is what they share. */
  async start(env: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
    const { store } = this.#settings;
    this.#say("store", store.title);
    // The first alone: what is wrong with store or chain is then said once.
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

  /** Ends all. Safe to repeat. */
  async stop(): Promise<void> {
    await Promise.all(this.#running.map((child) => child.stop()));
  }

  /** Ends all at once. */
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
