/** A peer's text for log and terminal: one line of at most 512 characters, without control characters. */
export function printable(text: string): string {
  return text.slice(0, 512).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, " ");
}
