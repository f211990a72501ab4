import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { RestApp } from "@proof-of-compute/coordinator/edges/rest/context";
import type { TaskView } from "@proof-of-compute/coordinator/edges/rest/tasks/schemas";
import type { Hex } from "@proof-of-compute/proto";

/** Reads an event stream as a browser does. */
export class EventReader {
  readonly events: { id: string; view: TaskView }[] = [];
  readonly response: IncomingMessage;
  comments = 0;
  ended = false;
  #text = "";

  constructor(response: IncomingMessage) {
    this.response = response;
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => this.#read(chunk));
    response.on("close", () => {
      this.ended = true;
    });
  }

  get last(): TaskView | undefined {
    return this.events.at(-1)?.view;
  }

  close(): void {
    this.response.destroy();
  }

  #read(chunk: string): void {
    this.#text += chunk;
    for (let end = this.#text.indexOf("\n\n"); end >= 0; end = this.#text.indexOf("\n\n")) {
      const block = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 2);
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
      if (block.startsWith(":")) this.comments++;
      const data = field("data");
      if (data) this.events.push({ id: field("id")!, view: JSON.parse(data) });
    }
  }
}

/** Follows a task at a listening facade, as a browser does. */
export async function followTask(app: RestApp, id: Hex, cookie: string, lastEventId?: string): Promise<EventReader> {
  const { port } = app.server.address() as AddressInfo;
  const headers = { cookie, ...(lastEventId && { "last-event-id": lastEventId }) };
  const [response] = await once(get({ port, path: `/api/tasks/${id}/events`, headers }), "response");
  return new EventReader(response as IncomingMessage);
}
