import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { pipeline } from "node:stream";

/** A TCP path to a server that a test can cut. While it is cut, whoever dials gets a connection on which nothing comes. */
export class Link {
  /** Address to dial instead of the server's. */
  readonly address: string;
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #sockets = new Set<Socket>();
  readonly #waiting = new Set<Socket>();
  #whole = true;

  private constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server;
    this.#target = target;
    this.address = `127.0.0.1:${(server.address() as { port: number }).port}`;
    server.on("connection", (socket) => {
      this.#keep(socket);
      if (this.#whole) this.#join(socket);
      else this.#waiting.add(socket);
    });
  }

  /** A whole link to `host:port`. */
  static async to(address: string): Promise<Link> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const [host, port] = address.split(":") as [string, string];
    return new Link(server, { host, port: Number(port) });
  }

  /** Ends every connection. */
  cut(): void {
    this.#whole = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Lets through who waits and who dials. */
  mend(): void {
    this.#whole = true;
    for (const socket of this.#waiting) this.#join(socket);
    this.#waiting.clear();
  }

  async stop(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(socket: Socket): void {
    const far = connect(this.#target);
    this.#keep(far);
    // Either end may go at any time; its other half then goes as well.
    pipeline(socket, far, socket, () => undefined);
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#sockets.delete(socket);
      this.#waiting.delete(socket);
    });
  }
}
