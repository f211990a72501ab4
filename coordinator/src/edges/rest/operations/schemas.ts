import { z } from "zod";
import { SettlementView } from "../network/schemas.ts";
import { text } from "../schemas.ts";

export const HealthView = z.object({ status: z.literal("ok"), version: z.string() }).meta({ id: "Health" });

/** Whether the coordinator can take work; `reasons` also says what is merely limited. */
export const ReadinessView = z
  .object({
    ready: z.boolean(),
    reasons: z.array(z.string()).meta({ description: "Why it is not ready, or what it does without" }),
    settlement: SettlementView,
  })
  .meta({ id: "Readiness" });

/** Path of `GET /problems/:code`. */
export const ProblemParams = z.object({ code: z.string().max(64).meta({ description: "Code of a problem" }) });
export const ProblemText = text("text/plain", "What the code means");
/** Response of `GET /metrics`. */
export const MetricsText = text("text/plain", "Prometheus text format");
