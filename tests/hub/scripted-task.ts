import { api, page } from "./harness.ts";
import type { Call } from "./scripted-api.ts";
import { stages } from "./scripts.ts";

/** The badge of the shown task, once it has that state. */
export const taskState = (state: string) => page.locator(`[data-testid=task-state][data-state=${state}]`);

/** Scripts the task that a dispatch creates. `become` sends its next view to the page. */
export function scriptTask(wallet: string) {
  const views = stages(wallet);
  let send: (view: unknown) => void = () => {};
  let current: unknown = views.queued;
  const requests: Call[] = [];
  api
    .on("POST /api/node/dispatch-task", (call) => {
      requests.push(call);
      return { status: 202, body: current };
    })
    .on("GET /api/tasks/*", () => ({ body: current }))
    .on("GET /api/tasks/*/events", () => ({
      events: (write) => {
        send = write;
        write(current);
      },
    }));
  return {
    views,
    requests,
    become(view: unknown) {
      current = view;
      send(view);
    },
  };
}
