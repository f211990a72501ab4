import type { MongoConnection } from "@proof-of-compute/coordinator/adapters/mongo/connection";

/** The part of a connection that the MongoDB adapters use. */
export type Connection = Pick<MongoConnection, "start" | "stop" | "trip" | "inSession">;

/** The connection of a process that dies at one of its round trips, before or after the trip takes effect. */
export class MortalConnection implements Connection {
  readonly died = Promise.withResolvers<void>();
  trips = 0;
  readonly #connection: MongoConnection;
  readonly #diesAt: number;
  readonly #afterEffect: boolean;

  constructor(connection: MongoConnection, diesAt: number, afterEffect: boolean) {
    this.#connection = connection;
    this.#diesAt = diesAt;
    this.#afterEffect = afterEffect;
  }

  start = () => this.#connection.start();
  stop = () => this.#connection.stop();
  inSession: Connection["inSession"] = (run) => this.#connection.inSession(run);
  trip: Connection["trip"] = async (run) => {
    const trip = this.trips++;
    if (trip < this.#diesAt) return this.#connection.trip(run);
    if (trip === this.#diesAt) {
      if (this.#afterEffect) await this.#connection.trip(run);
      this.died.resolve();
    }
    return new Promise(() => undefined);
  };
}

/** Every possible death in work of this many trips. */
export function deathsIn(trips: number): { readonly trip: number; readonly afterEffect: boolean }[] {
  return Array.from({ length: trips }, (_, trip) => [false, true].map((afterEffect) => ({ trip, afterEffect }))).flat();
}
