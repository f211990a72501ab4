import { join, resolve } from "node:path";
import { isLoopback } from "@proof-of-compute/coordinator/host-port";
import { NETWORKS } from "@proof-of-compute/proto";
import { looksSecret, refuseSecretArguments, SECRET_REFUSED, SecretGiven } from "@proof-of-compute/proto/secrets";
import { Command, InvalidArgumentError } from "commander";
import { type Listener, readAddress } from "./ports.ts";
import { LocalError, shortPath } from "./terminal.ts";

/** Limited by consecutive ports, and by the memory of one machine. */
const MAX_COORDINATORS = 9;

/** The database if MONGODB_URI names none, as for the coordinator. */
const DATABASE = "proof_of_compute";

/** The store, with a title for people that contains no password. */
export type LocalStore =
  | { readonly kind: "sqlite"; readonly title: string }
  | { readonly kind: "mongodb"; readonly title: string; readonly uri: string };

/** The settings of `npm start`. */
export interface LocalSettings {
  readonly dataDir: string;
  readonly store: LocalStore;
  /** Number of coordinators. The first one has `grpc` and `http`, the others the ports after them. */
  readonly coordinators: number;
  readonly grpc: Listener;
  readonly http: Listener;
  /** The address of the local chain, or another chain to use instead. */
  readonly chain: Listener | { readonly rpcUrl: string; readonly contract: string | undefined };
  /** Whether to request the showcase task. */
  readonly task: boolean;
}

const LOCAL_CHAIN = new URL(NETWORKS.find(({ name }) => name === "local")!.rpcUrl).host;

/** Reads flags over the environment. Exits, as commander does, for --help and unknown flags. */
export function readLocalSettings(argv: readonly string[], env: NodeJS.ProcessEnv): LocalSettings {
  refuseSecrets(argv, env);
  const command = new Command("npm start --")
    .description(
      "The whole network on this machine: a chain, the contract, coordinators with the hub, and one daemon. Asks for one " +
        "task, shows the evidence of every step, and stays up until Ctrl-C.",
    )
    .option("--data-dir <folder>", "where everything is kept [DATA_DIR]", env.DATA_DIR || ".data")
    .option("--coordinators <number>", "how many; more than one needs MongoDB, see below", readCount, 1)
    .option("--http-address <host:port>", "hub and REST [HTTP_ADDRESS]", env.HTTP_ADDRESS || "127.0.0.1:3000")
    .option("--grpc-address <host:port>", "where nodes connect [GRPC_ADDRESS]", env.GRPC_ADDRESS || "127.0.0.1:50051")
    .option("--chain-address <host:port>", "where the local chain listens", LOCAL_CHAIN)
    .option("--no-task", "ask for no task")
    .addHelpText(
      "after",
      "\nWith MONGODB_URI set that MongoDB is the store (else SQLite), and --coordinators 3 runs three on it, at the ports" +
        "\nfrom --http-address and --grpc-address on. A coordinator that dies is started again; Ctrl-C ends all." +
        "\n\nIt is for this machine: of HTTP_ADDRESS and GRPC_ADDRESS the ports count, and what .env says of certificates and" +
        "\npublic names is left to `npm run coordinator`. Only a flag makes it listen beyond loopback, with INSECURE=true." +
        "\n\nWith XDC_RPC_URL set that chain is used instead of a local one; PROOF_OF_COMPUTE_ADDRESS and RECORDER_KEYSTORE (or" +
        "\nRECORDER_PRIVATE_KEY) must name a deployed contract and the wallet that records (`npm run deploy`).",
    )
    .parse(["node", "npm-start", ...argv]);
  const options = command.opts<{
    dataDir: string;
    coordinators: number;
    httpAddress: string;
    grpcAddress: string;
    chainAddress: string;
    task: boolean;
  }>();
  const dataDir = resolve(options.dataDir);
  const store = readStore(env.MONGODB_URI, dataDir);
  if (options.coordinators > 1 && store.kind === "sqlite") throw new LocalError(SEVERAL_NEED_MONGODB);
  const here = (name: "grpcAddress" | "httpAddress", what: string, flag: string): Listener => {
    const listener = readAddress(options[name], what, flag);
    const asAsked = command.getOptionValueSource(name) === "cli" || isLoopback(listener.host);
    return asAsked ? listener : { ...listener, host: "127.0.0.1" };
  };
  return {
    dataDir,
    store,
    coordinators: options.coordinators,
    grpc: here("grpcAddress", "the coordinator's node stream", "--grpc-address"),
    http: here("httpAddress", "the hub", "--http-address"),
    chain: env.XDC_RPC_URL
      ? { rpcUrl: env.XDC_RPC_URL, contract: env.PROOF_OF_COMPUTE_ADDRESS || undefined }
      : readAddress(options.chainAddress, "the local chain", "--chain-address"),
    task: options.task,
  };
}

/** Settings that name no secret. */
const OPEN = [
  "DATA_DIR",
  "HTTP_ADDRESS",
  "GRPC_ADDRESS",
  "PROOF_OF_COMPUTE_ADDRESS",
  "XDC_RPC_URL",
  "RECORDER_KEYSTORE",
];

/** Before anybody reads a value, and repeats what it does not understand. */
function refuseSecrets(argv: readonly string[], env: NodeJS.ProcessEnv): void {
  try {
    refuseSecretArguments(argv);
  } catch (error) {
    throw error instanceof SecretGiven ? new LocalError(error.message) : error;
  }
  const name = OPEN.find((each) => looksSecret(env[each] ?? ""));
  if (name !== undefined) throw new LocalError(`${name} ${SECRET_REFUSED}`);
  if (env.XDC_RPC_URL && !URL.canParse(env.XDC_RPC_URL)) throw new LocalError("XDC_RPC_URL is no URL");
}

const SEVERAL_NEED_MONGODB = `several coordinators share one store, and SQLite is for one alone: set MONGODB_URI. A MongoDB to try it with:
  docker run -d --name proof-of-compute-mongo -p 127.0.0.1:27017:27017 mongo:8 --replSet rs0
  docker exec proof-of-compute-mongo mongosh --quiet --eval 'rs.initiate({_id: "rs0", members: [{_id: 0, host: "127.0.0.1:27017"}]})'
  MONGODB_URI='mongodb://127.0.0.1:27017/?replicaSet=rs0' npm start -- --coordinators 3`;

function readCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MAX_COORDINATORS) return count;
  throw new InvalidArgumentError(`It takes a number from 1 to ${MAX_COORDINATORS}.`);
}

function readStore(uri: string | undefined, dataDir: string): LocalStore {
  if (!uri) return { kind: "sqlite", title: `SQLite in ${shortPath(dataDir)}` };
  // Greedy up to the last @ before the hosts, so that no part of a password is shown.
  const match = /^mongodb(?:\+srv)?:\/\/(?:[^/?]*@)?([^/?@]+)(?:\/([^?]*))?/.exec(uri);
  const hosts = match?.[1]?.split(",") ?? [];
  if (hosts.length === 0 || !hosts.every((host) => /^(?:\[[\da-f:.]+\]|[\w.-]+)(?::\d+)?$/i.test(host))) {
    throw new LocalError(
      "MONGODB_URI is not a MongoDB connection string, for example mongodb://127.0.0.1:27017/?replicaSet=rs0 (in user name " +
        "and password @ : / are written %40 %3A %2F)",
    );
  }
  const database = match?.[2] || DATABASE;
  return { kind: "mongodb", title: `MongoDB at ${hosts.join(", ")}, database ${database}`, uri };
}

/** Folders below the data folder. */
export function foldersOf(dataDir: string) {
  return {
    logs: join(dataDir, "logs"),
    keys: join(dataDir, "local"),
    daemon: join(dataDir, "local", "daemon"),
  };
}
