import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP path to a server that a test can cut. While it is cut, whoever dials gets a connection on which nothing comes. */
export class Link {
  /** Address to dial instead of the server's. */
  readonly address: string;
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  /** Connections of whoever dialled, each with its other half once it is let through. */
  readonly #connections = new Map<Socket, Socket | undefined>();
  #whole = true;

  private constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server;
    this.#target = target;
    this.address = `127.0.0.1:${(server.address() as { port: number }).port}`;
    server.on("connection", (near) => {
      this.#connections.set(near, undefined);
      near.on("error", () => near.destroy());
      near.on("close", () => {
        this.#connections.get(near)?.destroy();
        this.#connections.delete(near);
      });
      if (this.#whole) this.#join(near);
    });
  }

  /** A whole link to `host:port`. */
  static async to(address: string): Promise<Link> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const [host, port] = address.split(":") as [string, string];
    return new Link(server, { host, port: Number(port) });
  }

  /** From now on nothing of whoever dialled arrives; what the server says still does. */
  mute(): void {
    for (const [near, far] of this.#connections) if (far) near.unpipe(far);
  }

  /** Ends every connection. */
  cut(): void {
    this.#whole = false;
    for (const near of this.#connections.keys()) near.destroy();
  }

  /** Lets through who waits and who dials. */
  mend(): void {
    this.#whole = true;
    for (const [near, far] of this.#connections) if (!far) this.#join(near);
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.cut();
    await closed;
  }

  #join(near: Socket): void {
    const far = connect(this.#target);
    this.#connections.set(near, far);
    near.pipe(far).pipe(near);
    far.on("error", () => far.destroy());
    far.on("close", () => near.destroy());
  }
}
