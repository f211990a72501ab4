import type { KindView } from "#lib/kinds/kind.ts";
import Details from "./Details.svelte";
import Form from "./Form.svelte";
import { inputOf } from "./input.ts";

/** The smallest kind on the hub: its parameter is a text that comes back. */
export const echo: KindView = {
  name: "echo",
  label: "Echo",
  about: "A node sends the text back. One unit is one byte.",
  Form,
  Details,
  steps: {
    running: "The node sends the text back.",
    verified: "The coordinator compares both texts.",
  },
  summary: (task) => `Echo of “${inputOf(task)}”`,
  check: () => "The answer is the text that was sent.",
};
