import { error } from "@sveltejs/kit";
import { ApiError, api, call, type Task } from "#lib/api/client.ts";
import type { PageLoad } from "./$types";

/** The task; null when only its requester may see it and the reader is not signed in as the requester. */
export const load: PageLoad = async ({
  params,
  depends,
  fetch,
}): Promise<{ id: string; task: Task | null; refusal: string }> => {
  depends("hub:task");
  try {
    return {
      id: params.id,
      task: await call(api.GET("/api/tasks/{id}", { params: { path: params }, fetch })),
      refusal: "",
    };
  } catch (thrown) {
    if (!(thrown instanceof ApiError)) throw thrown;
    if (thrown.status === 401 || thrown.status === 403) return { id: params.id, task: null, refusal: thrown.message };
    if (thrown.status === 400 || thrown.status === 404)
      error(404, "There is no task with this id, or it is no longer kept.");
    error(thrown.status || 503, thrown.message);
  }
};
