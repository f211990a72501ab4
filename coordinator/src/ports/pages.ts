/** A page of a list; `cursor` leads to the next page and is absent on the last. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly cursor?: string;
}

/** At most `limit` items after `cursor`. An unreadable cursor throws INVALID_REQUEST. */
export interface PageQuery {
  readonly limit: number;
  readonly cursor?: string;
}
