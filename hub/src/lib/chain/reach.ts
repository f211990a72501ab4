/**
 * What a page may ask besides its own origin: `connect-src` of its content security policy. Which RPC has the contract
 * is not known when the hub is built. Plain HTTP to another machine would be mixed content on a hub that is served over
 * HTTPS, and readable on the way on any other.
 */
export const REACH = ["https:", "http://127.0.0.1:*", "http://localhost:*"] as const;

/** Why a page of the origin `own` may not ask a URL; undefined when it may, and for what is no URL. */
export function refusalOf(url: string, own: string = location.origin): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { protocol, hostname, host, origin } = new URL(url);
  if (origin === own) return undefined;
  if (REACH.some((source) => source === protocol || source === `${protocol}//${hostname}:*`)) return undefined;
  return `A page may only ask https or this machine, not ${protocol}//${host}.`;
}
