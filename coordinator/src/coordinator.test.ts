import { Worker } from "node:worker_threads";
import { startTestCoordinator } from "@proof-of-compute/tests/support/start-coordinator";
import { expect, onTestFinished, test, vi } from "vitest";

test("a coordinator that loses its embedded store fails, and one that is stopped does not", async () => {
  const unref = vi.spyOn(Worker.prototype, "unref");
  const settings = { MONGODB_URI: "", XDC_RPC_URL: "" };
  const [coordinator, other] = [await startTestCoordinator(settings), await startTestCoordinator(settings)];
  const [thread] = unref.mock.contexts as Worker[];
  unref.mockRestore();
  onTestFinished(() => coordinator.stop());
  const told = vi.fn();
  void other.failed.then(told);

  await thread!.terminate();
  await expect(coordinator.failed).resolves.toMatchObject({
    code: "UNAVAILABLE",
    message: "the store's thread failed",
  });
  await expect(coordinator.store.totals()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await other.stop();
  expect(told).not.toHaveBeenCalled();
});
