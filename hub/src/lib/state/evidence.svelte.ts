import { api, call } from "#lib/api/client.ts";

/** The evidence that a task's receipt adds. */
export class Evidence {
  /** Root of the batch that carries the receipt. */
  root = $state<string>();

  /** Reads the receipt. When that fails its part stays absent: the rest of the page does not need it. */
  async read(receiptId: string): Promise<void> {
    const { batch } = await call(api.GET("/api/receipts/{id}", { params: { path: { id: receiptId } } })).catch(() => ({
      batch: undefined,
    }));
    this.root = batch?.root;
  }
}
