/** A page of a list; `cursor` asks for the next one and is absent on the last. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly cursor?: string;
}

/** Which page: at most `limit` items, after `cursor`. An unreadable cursor throws INVALID_REQUEST. */
export interface PageQuery {
  readonly limit: number;
  readonly cursor?: string;
}
