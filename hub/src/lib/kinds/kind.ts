import type { TaskKindName } from "@proof-of-compute/proto";
import type { Component } from "svelte";
import type { Config, DispatchRequest, Task } from "#lib/api/client.ts";

/** What the coordinator publishes of a kind: the limits of its parameters, and presets. */
export type KindConfig = Config["kinds"][number];

/** What the form of a kind is given; `Published` is the kind's own {@link KindConfig}. */
export interface FormProps<Published> {
  readonly config: Published;
  /** Compute units that an online node computes in a second; undefined while no node says. */
  readonly unitsPerSecond: number | undefined;
  /** What the fields ask for. Bindable: the form sets it, from the start on; undefined while the fields ask for nothing. */
  request: DispatchRequest | undefined;
}

/** One kind of task as the hub shows it. docs/guides/adding-a-kind.md walks through a small one. */
export interface KindView {
  /** As REST writes it. The kind's parameters stand under this name. */
  readonly name: TaskKindName;
  /** For people, for example "Matrix product". */
  readonly label: string;
  /** What a task computes and what one compute unit of it is, in a sentence or two. */
  readonly about: string;
  /** The fields of a request: presets, parameters, or both. The card around them has the button. */
  readonly Form: Component<FormProps<never>, object, "request">;
  /** The facts that only this kind has, for a task's page: `Fact` components. */
  readonly Details: Component<{ readonly task: Task }>;
  /** What happens in these steps, for somebody who has no task yet: one sentence each. */
  readonly steps: Readonly<Record<"running" | "verified", string>>;
  /** A task in a few words, for lists. */
  summary(task: Task): string;
  /** How the result of a verified task was checked: one sentence. */
  check(task: Task): string;
}
