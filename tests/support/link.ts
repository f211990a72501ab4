import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Transform, type TransformCallback } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

/** How bytes travel in one direction: at once, not at all, or in pieces of at most `pieceBytes`, each after `delayMs`. */
export type Way = "open" | "shut" | { readonly delayMs: number; readonly pieceBytes?: number };

/**
 * A TCP path to a server that a test can cut, shut in one or both directions, and slow down. While it is cut or shut, a
 * client that dials gets a silent connection.
 */
export class Link {
  /** Address to dial instead of the server's. */
  readonly address: string;
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #connections = new Set<Connection>();
  #up: Way = "open";
  #down: Way = "open";
  #whole = true;
  #changed = Promise.withResolvers<void>();

  private constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server;
    this.#target = target;
    this.address = `127.0.0.1:${(server.address() as { port: number }).port}`;
    server.on("connection", (near) => {
      const connection = { near };
      this.#connections.add(connection);
      near.on("error", () => near.destroy());
      near.on("close", () => this.#closed(connection));
      if (this.#whole) this.#join(connection);
    });
  }

  /** An open link to `host:port`. */
  static async to(address: string): Promise<Link> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const [host, port] = address.split(":") as [string, string];
    return new Link(server, { host, port: Number(port) });
  }

  /** Changes the flow: `up` from the client, `down` from the server. Nothing is lost; waiting bytes continue later. */
  pass(ways: { readonly up?: Way; readonly down?: Way }): void {
    this.#up = ways.up ?? "open";
    this.#down = ways.down ?? "open";
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
    if (!this.#isShut) for (const connection of this.#connections) if (connection.dead) this.#close(connection);
  }

  /** Stops bytes from the client; bytes from the server still arrive. */
  mute(): void {
    this.pass({ up: "shut" });
  }

  /** Ends every connection. */
  cut(): void {
    this.#whole = false;
    for (const connection of this.#connections) this.#close(connection);
  }

  /** Opens the link again, for waiting and new clients. */
  mend(): void {
    this.#whole = true;
    this.pass({});
    for (const connection of this.#connections) if (!connection.far) this.#join(connection);
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.pass({});
    this.cut();
    await closed;
  }

  get #isShut(): boolean {
    return this.#up === "shut" || this.#down === "shut";
  }

  #join(connection: Connection): void {
    const { near } = connection;
    const far = connect(this.#target);
    connection.far = far;
    const changed = () => this.#changed.promise;
    near.pipe(new Flow(() => this.#up, changed)).pipe(far);
    far.pipe(new Flow(() => this.#down, changed)).pipe(near);
    // The client sees an unreachable or lost server as it would without the link.
    far.on("error", () => {
      if (!this.#isShut) near.resetAndDestroy();
      far.destroy();
    });
    far.on("close", () => this.#closed(connection));
  }

  /** One end has closed. On a shut path the other end does not notice, as with a pulled cable. */
  #closed(connection: Connection): void {
    if (this.#isShut && this.#whole) connection.dead = true;
    else this.#close(connection);
  }

  #close(connection: Connection): void {
    this.#connections.delete(connection);
    connection.near.destroy();
    connection.far?.destroy();
  }
}

interface Connection {
  /** The client's socket. */
  readonly near: Socket;
  /** The server's socket, once the link let the client through. */
  far?: Socket;
  /** One end has closed, and the other has not noticed yet. */
  dead?: true;
}

/** Bytes from one end to the other. */
class Flow extends Transform {
  readonly #way: () => Way;
  readonly #changed: () => Promise<void>;

  constructor(way: () => Way, changed: () => Promise<void>) {
    super();
    this.#way = way;
    this.#changed = changed;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (this.#way() === "open") done(null, chunk);
    else this.#pass(chunk).then(() => done(), done);
  }

  override _flush(done: TransformCallback): void {
    // The end of the stream takes the same path as its bytes.
    this.#pass(Buffer.alloc(0)).then(() => done(), done);
  }

  async #pass(chunk: Buffer): Promise<void> {
    let rest = chunk;
    do {
      const way = this.#way();
      if (way === "shut") {
        await this.#changed();
        continue;
      }
      const size = way === "open" ? rest.length : Math.min(rest.length, way.pieceBytes ?? rest.length);
      if (way !== "open") await sleep(way.delayMs);
      if (this.destroyed) return;
      if (size > 0) this.push(rest.subarray(0, size));
      rest = rest.subarray(size);
    } while (rest.length > 0 || this.#way() === "shut");
  }
}
