import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Transform, type TransformCallback } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

/** How bytes travel one way: at once, not at all, or each piece of at most `pieceBytes` after a wait of `delayMs`. */
export type Way = "open" | "shut" | { readonly delayMs: number; readonly pieceBytes?: number };

/**
 * A TCP path to a server that a test can cut, shut one way or both, and slow down. While it is cut or shut, whoever dials
 * gets a connection on which nothing comes.
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

  /** A whole link to `host:port`. */
  static async to(address: string): Promise<Link> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const [host, port] = address.split(":") as [string, string];
    return new Link(server, { host, port: Number(port) });
  }

  /** From now on: `up` is what whoever dialled says, `down` what the server says. Nothing is lost, what waits goes on later. */
  pass(ways: { readonly up?: Way; readonly down?: Way }): void {
    this.#up = ways.up ?? "open";
    this.#down = ways.down ?? "open";
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
    if (!this.#isShut) for (const connection of this.#connections) if (connection.dead) this.#close(connection);
  }

  /** From now on nothing of whoever dialled arrives; what the server says still does. */
  mute(): void {
    this.pass({ up: "shut" });
  }

  /** Ends every connection. */
  cut(): void {
    this.#whole = false;
    for (const connection of this.#connections) this.#close(connection);
  }

  /** Lets everything through again, and who waits and who dials. */
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
    // What cannot be reached, or broke off, says so to whoever dialled as it would without a link in between.
    far.on("error", () => {
      if (!this.#isShut) near.resetAndDestroy();
      far.destroy();
    });
    far.on("close", () => this.#closed(connection));
  }

  /** One end is gone. On a path that is shut the other does not learn of it, as when a cable is pulled. */
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
  /** To whoever dialled. */
  readonly near: Socket;
  /** To the server, once it was let through. */
  far?: Socket;
  /** One of the two is gone, and the other still has to learn of it. */
  dead?: true;
}

/** What one end says, on its way to the other. */
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
    // The end of what was said goes the same way as what was said.
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
