import { randomFillSync } from "node:crypto";
import { type Hex, toHex } from "@proof-of-compute/proto";
import { v7 as uuidv7 } from "uuid";

/** Random bytes of the next ids: drawing 4,096 costs hardly more than drawing 16. */
const RANDOM = new Uint8Array(4_096);
let drawn = RANDOM.length;

/** A new UUIDv7. It sorts by time, which keeps index pages warm. */
export function newId(): Hex {
  if (drawn === RANDOM.length) {
    randomFillSync(RANDOM);
    drawn = 0;
  }
  drawn += 16;
  return toHex(uuidv7({ random: RANDOM.subarray(drawn - 16, drawn) }, new Uint8Array(16)));
}
