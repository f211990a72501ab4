import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";

/** A condition of a list, and its value. */
export type Condition = readonly [sql: string, ...values: SQLInputValue[]];

/** Runs a SELECT with conditions that depend on the query; prepares each combination once. */
export class ListQuery<Row> {
  readonly #database: DatabaseSync;
  readonly #select: string;
  readonly #order: string;
  readonly #prepared = new Map<string, StatementSync>();

  /** `select` up to the table, `order` as the ORDER BY terms. */
  constructor(database: DatabaseSync, select: string, order: string) {
    this.#database = database;
    this.#select = select;
    this.#order = order;
  }

  all(conditions: readonly Condition[], limit: number): Row[] {
    const where = conditions.map(([sql]) => sql).join(" AND ") || "TRUE";
    let statement = this.#prepared.get(where);
    if (statement === undefined) {
      statement = this.#database.prepare(`${this.#select} WHERE ${where} ORDER BY ${this.#order} LIMIT ?`);
      this.#prepared.set(where, statement);
    }
    return statement.all(...conditions.flatMap(([, ...values]) => values), limit) as Row[];
  }
}
