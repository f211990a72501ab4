import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Address, parseAddress } from "@proof-of-compute/proto";
import { Wallet } from "ethers";
import { keepRate } from "../../support/daemon/rates.ts";
import { Link } from "../../support/link.ts";
import type { MongoServer } from "../../support/mongo.ts";
import { freePort, Program } from "../../support/process.ts";
import { type RpcProxy, startRpcProxy } from "../../support/rpc-proxy.ts";
import type { Shape } from "./schedule.ts";

const PRELOAD = new URL("preload.ts", import.meta.url).href;
/** Blocks by which finality lags on the simulated chain, as on XDC. */
const FINALITY_BLOCKS = 3;
/** The speed that daemons claim. Ten daemons cannot measure it at a time on two cores. */
const UNITS_PER_SECOND = 20_000;

/** A coordinator or a daemon. */
export interface Member {
  readonly name: string;
  readonly program: Program;
  /** The error of its wall clock since its last start. */
  shiftMs: number;
}

/** A coordinator with the paths to it and from it. */
export interface CoordinatorMember extends Member {
  /** One for each daemon. */
  readonly nodes: readonly Link[];
  /** To the database. */
  readonly store?: Link;
  /** From its peers. */
  readonly peers: Link;
  /** From requesters. */
  readonly requesters: Link;
  readonly rpc: RpcProxy;
  readonly dataDir: string;
}

/** A daemon with its files. */
export interface DaemonMember extends Member {
  readonly wallet: Address;
  readonly dataDir: string;
  readonly acksFile: string;
}

/** What a coordinator needs to know of the network. */
export interface Surroundings {
  readonly folder: string;
  readonly shape: Shape;
  readonly chainUrl: string;
  readonly contractAddress: Address;
  readonly keyFile: string;
  readonly database: MongoServer | undefined;
  readonly mongoUri: string | undefined;
}

function databaseOf(uri: string): string {
  return new URL(uri).pathname.slice(1);
}

/** Makes a coordinator with its paths, and does not start it. */
export async function makeCoordinator(index: number, around: Surroundings): Promise<CoordinatorMember> {
  const name = `coordinator-${index}`;
  const [grpc, http] = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  const nodes: Link[] = [];
  for (let daemon = 0; daemon < around.shape.daemons; daemon++) nodes.push(await Link.to(grpc));
  const [peers, requesters] = [await Link.to(http), await Link.to(http)];
  const store = around.database ? await Link.to(`127.0.0.1:${around.database.port}`) : undefined;
  const rpc = await startRpcProxy(around.chainUrl, { lag: FINALITY_BLOCKS });
  const dataDir = join(around.folder, name);
  const program = new Program(
    "coordinator/src/main.ts",
    [],
    {
      GRPC_ADDRESS: grpc,
      HTTP_ADDRESS: http,
      GRPC_AUDIENCES: nodes.map(({ address }) => address).join(","),
      PUBLIC_ORIGINS: [http, peers.address, requesters.address].map((host) => `http://${host}`).join(","),
      PEER_ADDRESS: `http://${peers.address}`,
      COORDINATOR_ID: name,
      DATA_DIR: dataDir,
      MONGODB_URI: store ? around.database!.uri(databaseOf(around.mongoUri!), Number(store.address.split(":")[1])) : "",
      XDC_RPC_URL: rpc.url,
      PROOF_OF_COMPUTE_ADDRESS: around.contractAddress,
      RECORDER_KEYSTORE: around.keyFile,
      BATCH_MAX_WAIT: "1s",
      BATCH_RESEND_AFTER: "10s",
      CHAIN_POLL_INTERVAL: "200ms",
      HEARTBEAT_INTERVAL: "500ms",
      LEASE_TIME: "3s",
      RECONNECT_SPREAD: "100ms",
      VERIFIER_THREADS: "1",
      LOG: "json",
      LOG_LEVEL: "info",
    },
    { log: join(around.folder, `${name}.log`), imports: [PRELOAD] },
  );
  return { name, program, shiftMs: 0, nodes, peers, requesters, rpc, dataDir, ...(store && { store }) };
}

/** Makes a daemon, and does not start it; `index` counts from 0. */
export async function makeDaemon(
  index: number,
  folder: string,
  coordinators: readonly CoordinatorMember[],
): Promise<DaemonMember> {
  const name = `daemon-${index + 1}`;
  const dataDir = join(folder, name);
  const acksFile = join(folder, `${name}.acks`);
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const slots = 1 + (index % 2);
  await keepRate(dataDir, slots, UNITS_PER_SECOND);
  await writeFile(acksFile, "");
  const wallet = parseAddress(Wallet.createRandom().address);
  // Each daemon dials another coordinator first.
  const dials = coordinators.map(
    (_, place) => coordinators[(place + index) % coordinators.length]!.nodes[index]!.address,
  );
  const args = [
    ...["--wallet-address", wallet],
    ...["--coordinator", dials.join(",")],
    ...["--data-dir", dataDir],
    ...["--slots", String(slots)],
    ...["--log", "json"],
  ];
  const env = { ACKS_FILE: acksFile };
  const program = new Program("daemon/src/main.ts", args, env, {
    log: join(folder, `${name}.log`),
    imports: [PRELOAD],
  });
  return { name, program, shiftMs: 0, wallet, dataDir, acksFile };
}
