import { api, call } from "#lib/api/client.ts";

/** What a receipt adds to its task's own evidence. */
export class Evidence {
  /** Root of the batch that carries the receipt. */
  root = $state<string>();

  /** Reads the receipt; what it adds stays absent when it cannot be read, the rest of the page does not need it. */
  async read(receiptId: string): Promise<void> {
    const { batch } = await call(api.GET("/api/receipts/{id}", { params: { path: { id: receiptId } } })).catch(() => ({
      batch: undefined,
    }));
    this.root = batch?.root;
  }
}
