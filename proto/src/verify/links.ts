/** One link of the chain from a receipt's file to the work. */
export interface LinkDescription {
  readonly name: string;
  /** What holds when the link does, for people: one sentence. */
  readonly about: string;
}

/** The links that every receipt has, in the order of their checks. The links of its kind come before the last one. */
export const LINKS: readonly LinkDescription[] = [
  { name: "format", about: "The file is a receipt, written in the one canonical way." },
  { name: "spec digest", about: "The task's bytes are those that the receipt names." },
  { name: "spec fields", about: "The task and the receipt agree on chain, contract, requester, kind and units." },
  { name: "node signature", about: "The node signed this result of this task for this wallet." },
  { name: "leaf", about: "The leaf is that of the receipt's fields." },
  { name: "merkle proof", about: "The leaf stands in the batch's tree." },
  { name: "root on chain", about: "The contract holds that root for that batch at a final block." },
  { name: "transaction", about: "The named transaction recorded the batch in the named block." },
  { name: "result digest", about: "The result's bytes are those that the node signed." },
  { name: "checksum", about: "Nothing else in the file was changed by accident." },
];

/** The link of kinds whose units depend on the output. It comes before the kind's own links. */
export const UNITS_LINK: LinkDescription = { name: "units", about: "The result is worth the receipt's units." };
