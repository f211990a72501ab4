import type { GrpcServer } from "../edges/grpc/server.ts";
import type { ResultIntake } from "../services/results/intake.ts";
import type { Settings } from "../settings/table.ts";
import type { DispatchPart } from "./dispatch.ts";
import type { Base } from "./part.ts";

const POLL_MS = 50;

interface Components {
  readonly dispatch: Pick<DispatchPart, "scheduler" | "sessions" | "fleet">;
  readonly grpc: Pick<GrpcServer, "drain">;
  readonly intake: Pick<ResultIntake, "drain">;
}

/** Stops assigning tasks, tells nodes to reconnect, and waits up to DRAIN_TIMEOUT for results of running assignments. */
export async function drain(
  { clock, logger }: Base,
  { dispatch: { scheduler, sessions, fleet }, grpc, intake }: Components,
  settings: Pick<Settings, "DRAIN_TIMEOUT">,
): Promise<void> {
  logger.info(scheduler.depth(), "draining: no new work, results of running assignments are still accepted");
  scheduler.drain();
  grpc.drain();
  sessions.reconnectAll("draining");
  const until = clock.monotonic() + settings.DRAIN_TIMEOUT;
  while (scheduler.depth().running > 0 && fleet.counts().online > 0 && clock.monotonic() < until) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  await intake.drain(Math.max(0, until - clock.monotonic()));
}
