import { api, type Config, call, messageOf } from "#lib/api/client.ts";
import type { LayoutLoad } from "./$types";

// The coordinator serves one file for every address, and the browser renders the pages.
export const ssr = false;

/** Every page needs the configuration. Without it the layout says why and tries again. */
export const load: LayoutLoad = async ({ depends, fetch }): Promise<{ config: Config | null; problem: string }> => {
  depends("hub:config");
  try {
    return { config: await call(api.GET("/api/config", { fetch })), problem: "" };
  } catch (error) {
    return { config: null, problem: messageOf(error) };
  }
};
