import { Writable } from "node:stream";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import type { CoordinatorFrame, NodeFrame } from "@proof-of-compute/proto/node";
import { expect, test } from "vitest";
import { StreamLink } from "./stream-link.ts";

/** The way down to a node that reads so many frames and then no more. */
function aCall(reads: number) {
  const errors: { details: string }[] = [];
  const call = new Writable({ objectMode: true, write: (_frame, _encoding, done) => void (reads-- > 0 && done()) });
  call.on("error", (error: unknown) => errors.push(error as { details: string }));
  return {
    call,
    errors,
    link: new StreamLink(call as unknown as ServerDuplexStream<NodeFrame, CoordinatorFrame>, "0x01"),
  };
}

const cancel = (link: StreamLink) => link.cancel("0x02", "LEASE_LOST");

test("ends the stream of a node that does not read, and keeps no more for it", () => {
  const { call, errors, link } = aCall(0);
  for (let i = 0; i < 20_000; i++) cancel(link);
  expect(errors).toMatchObject([{ details: expect.stringContaining("does not read") }]);
  expect(call.writableLength).toBeLessThanOrEqual(8_192);
});

test("counts unread acks one by one, however few frames carry them", async () => {
  const { call, errors, link } = aCall(0);
  for (let i = 0; i < 10_000; i++) link.ack({ assignmentId: "0x02", outcome: "LATE", reason: "", units: 0n });
  await new Promise((resolve) => setImmediate(resolve));
  expect(errors).toHaveLength(1);
  expect(call.writableLength).toBeLessThanOrEqual(32);
});

test("sends a node that reads as much as there is", async () => {
  const { errors, link } = aCall(Number.POSITIVE_INFINITY);
  for (let i = 0; i < 20_000; i++) {
    cancel(link);
    if (i % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(errors).toEqual([]);
});
