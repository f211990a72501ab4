import { setImmediate } from "node:timers/promises";
import type { Address } from "@proof-of-compute/proto";
import type { Receipt } from "../../domain/receipt.ts";
import type { ReceiptStore } from "../../ports/receipts.ts";
import { RECEIPT_PAGE } from "./limits.ts";

/** The receipts of a batch or a wallet, a page at a time, with a turn of the event loop before each page. */
export async function* receiptPages(
  store: Pick<ReceiptStore, "receipts">,
  of: { readonly batchId: number } | { readonly provider: Address },
  limit = RECEIPT_PAGE,
): AsyncGenerator<readonly Receipt[]> {
  let cursor: string | undefined;
  do {
    await setImmediate();
    const page = await store.receipts({ ...of, limit, ...(cursor !== undefined && { cursor }) });
    yield page.items;
    cursor = page.cursor;
  } while (cursor !== undefined);
}
