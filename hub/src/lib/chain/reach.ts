/**
 * Where a page may connect to besides its own origin: `connect-src` of its content security policy. The RPC that serves the
 * contract is not known when the hub is built. Plain HTTP to another machine is mixed content on a hub that is served over
 * HTTPS, and anybody on the network path can read it.
 */
export const REACH = ["https:", "http://127.0.0.1:*", "http://localhost:*"] as const;

/** Why a page of the origin `own` cannot connect to a URL. Undefined when it can, and when the text is not a URL. */
export function refusalOf(url: string, own: string = location.origin): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { protocol, hostname, host, origin } = new URL(url);
  if (origin === own) return undefined;
  if (REACH.some((source) => source === protocol || source === `${protocol}//${hostname}:*`)) return undefined;
  return `This page can only connect over https or to this machine, not to ${protocol}//${host}.`;
}
