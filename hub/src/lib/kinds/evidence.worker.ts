import { reasonOf } from "@proof-of-compute/proto";
import { checkLink, KINDS, recompute } from "@proof-of-compute/proto/kinds";
import type { EvidenceAnswer, EvidenceRequest } from "./evidence.ts";

/** Checking or recomputing a result can take seconds, so both run off the page's thread. */
addEventListener("message", async ({ data }: MessageEvent<EvidenceRequest>) => {
  const tell = (answer: EvidenceAnswer) => postMessage(answer);
  const report = (progress: number) => {
    tell({ progress });
    return true;
  };
  try {
    const kind = KINDS.get(data.kind);
    if (!kind) throw new Error(`This page does not know tasks of kind ${data.kind}.`);
    tell({
      answer:
        "claim" in data ? await checkLink(kind, data.link, data.claim, report) : recompute(kind, data.work, report),
    });
  } catch (error) {
    tell({ error: reasonOf(error) });
  }
});
