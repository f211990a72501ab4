/** Text of a peer for log and terminal: in one line, of at most 512 characters, without what terminals obey. */
export function printable(text: string): string {
  return text.slice(0, 512).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ");
}
