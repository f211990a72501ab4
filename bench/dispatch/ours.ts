/**
 * What is measured: the real coordinator over SQLite on a disk in this process, or over the MongoDB of BENCH_MONGODB_URI,
 * and 64 real daemons in another. A task counts once its receipt is durable. Requests come from within the process; REST is not part of this bench.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Coordinator, startCoordinator } from "@proof-of-compute/coordinator";
import { resolveSettings } from "@proof-of-compute/coordinator/settings";
import { Daemon } from "@proof-of-compute/daemon";
import { parseEndpoint } from "@proof-of-compute/daemon/endpoint";
import { loadIdentity } from "@proof-of-compute/daemon/identity";
import { MatmulExecutor } from "@proof-of-compute/daemon/kinds/matmul";
import { addressFromBytes, type Hex } from "@proof-of-compute/proto";
import { pino } from "pino";
import { Contender, closedLoop, contend } from "../contender.ts";
import { NODES, SLOTS, TASK } from "./load.ts";

const DEADLINE_MS = 600_000;
/** Tasks for each node before the first round, so that every node has earned its full allowance. */
const WARM_UP = 2 * SLOTS;

const logger = pino({ level: "error" }, pino.destination(2));
const folder = mkdtempSync(join(tmpdir(), "proof-of-compute-bench-"));

/** A function that resolves once the receipt of a task, which was submitted before, is durable. */
function watchReceipts({ store }: Coordinator): (taskId: Hex) => Promise<void> | undefined {
  const waiting = new Map<Hex, () => void>();
  const early = new Set<Hex>();
  const save = store.saveTask.bind(store);
  store.saveTask = async (task, made) => {
    const saved = await save(task, made);
    if (saved && made?.receipt) {
      const resolve = waiting.get(task.id);
      if (resolve) resolve();
      else early.add(task.id);
      waiting.delete(task.id);
    }
    return saved;
  };
  return (taskId) => {
    if (!early.delete(taskId)) return new Promise((resolve) => waiting.set(taskId, resolve));
  };
}

async function coordinate(): Promise<void> {
  const coordinator = await startCoordinator(
    resolveSettings({
      DATA_DIR: folder,
      MONGODB_URI: process.env.BENCH_MONGODB_URI,
      GRPC_ADDRESS: "127.0.0.1:0",
      HTTP_ADDRESS: "127.0.0.1:0",
      DRAIN_TIMEOUT: "1s",
    }),
    logger,
  );
  const receipt = watchReceipts(coordinator);
  const requester = addressFromBytes(randomBytes(20));
  const work = { kind: "matmul", spec: { ...TASK } } as const;
  const dispatch = async () => {
    const { task } = await coordinator.scheduler.submit({ requester, ...work, deadlineMs: DEADLINE_MS });
    await receipt(task.id);
  };
  const { contender: nodes } = await Contender.start(new URL(import.meta.url), [
    "nodes",
    `127.0.0.1:${coordinator.grpcPort}`,
  ]);
  await Promise.all(Array.from({ length: NODES * WARM_UP }, dispatch));
  contend(
    `${coordinator.grpcPort}`,
    (milliseconds) => closedLoop(NODES * SLOTS, milliseconds, dispatch),
    async () => {
      await nodes.stop();
      await coordinator.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  );
}

async function connect(address: string): Promise<void> {
  const executor = new MatmulExecutor();
  const online: Promise<void>[] = [];
  const daemons = await Promise.all(
    Array.from({ length: NODES }, async (_, index) => {
      const dataDir = mkdtempSync(join(folder, `${index}-`));
      const daemon = new Daemon(
        { logger, identity: await loadIdentity(dataDir), executors: [executor] },
        {
          wallet: addressFromBytes(randomBytes(20)),
          coordinators: [parseEndpoint(address, { insecure: true })],
          slots: SLOTS,
          dataDir,
        },
      );
      online.push(
        new Promise((resolve) => {
          daemon.on("change", () => daemon.snapshot().connection.phase === "online" && resolve());
        }),
      );
      await daemon.start();
      return daemon;
    }),
  );
  await Promise.all(online);
  contend(
    address,
    () => Promise.reject(new Error("the daemons do not measure")),
    async () => {
      await Promise.all(daemons.map((daemon) => daemon.stop()));
      await executor.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  );
}

const [role, address] = process.argv.slice(2);
if (role === "nodes") await connect(address!);
else await coordinate();
