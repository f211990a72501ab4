import { api, type Config, call, messageOf } from "#lib/api/client.ts";
import type { LayoutLoad } from "./$types";

// One page is served for every address; everything is rendered in the browser.
export const ssr = false;

/** Everything needs the configuration; without it the layout says what is wrong and asks again. */
export const load: LayoutLoad = async ({ depends, fetch }): Promise<{ config: Config | null; problem: string }> => {
  depends("hub:config");
  try {
    return { config: await call(api.GET("/api/config", { fetch })), problem: "" };
  } catch (error) {
    return { config: null, problem: messageOf(error) };
  }
};
