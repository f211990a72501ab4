import { it } from "vitest";
import { api, button, page, signIn, useHub } from "./harness.ts";
import { problem } from "./scripted-api.ts";
import { config } from "./scripts.ts";

useHub();

it("says that the coordinator cannot be reached, and continues when it answers", async () => {
  api.on("GET /api/config", () => problem(503, "UNAVAILABLE", "The store does not answer."));
  await page.goto(api.url);
  await page.getByRole("heading", { name: "The coordinator cannot be reached" }).waitFor();
  api.on("GET /api/config", () => ({ body: config(api.url) }));
  await button("Connect wallet").waitFor();
});

it("keeps what it has and says what could not be loaded", async () => {
  await signIn();
  await page.getByText("No node has connected with this wallet yet.").waitFor();
  api.on("GET /api/node/status", () => problem(503, "UNAVAILABLE", "The store does not answer."));
  await page.getByText("Nodes could not be loaded").waitFor();
  await page.getByTestId("units").waitFor();
});
