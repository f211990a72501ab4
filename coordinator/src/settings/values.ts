import { type Address, parseAddress } from "@proof-of-compute/proto";
import { quoted } from "@proof-of-compute/proto/secrets";
import { z } from "zod";
import type { HostPort } from "../net/host-port.ts";

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export const duration = z.string().transform((text, context) => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (!match) {
    context.addIssue({ code: "custom", message: 'a duration such as "500ms", "30s", "5m", "1h" or "7d"' });
    return z.NEVER;
  }
  return Number(match[1]) * UNITS[match[2]!]!;
});

export const listener = z.string().transform((text, context): HostPort => {
  const match = /^(?:\[([0-9a-f:]+)\]|([^:\s]+)):(\d{1,5})$/i.exec(text);
  if (!match || Number(match[3]) > 65_535) {
    context.addIssue({ code: "custom", message: 'an address such as "127.0.0.1:50051" or "[::1]:3000"' });
    return z.NEVER;
  }
  return { host: (match[1] ?? match[2])!, port: Number(match[3]) };
});

export const address = z.string().transform((text, context): Address => {
  try {
    return parseAddress(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
    return z.NEVER;
  }
});

export const flag = z.enum(["true", "false"], { error: "true or false" }).transform((text) => text === "true");
export const count = (min: number, max: number) => {
  const error = `a whole number from ${min} to ${max}`;
  return z.coerce.number({ error }).refine((number) => Number.isInteger(number) && number >= min && number <= max, {
    error,
  });
};
export const list = <T extends z.ZodType<unknown, string>>(item: T) =>
  z
    .string()
    .transform((text) => text.split(",").flatMap((part) => part.trim() || []))
    .pipe(z.array(item));
const network = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]);
/**
 * Trusted proxies: their number, or their addresses. Never all addresses, because clients could then choose their own.
 */
export const proxies = z.string().transform((text, context): number | string[] => {
  if (text === "true" || text === "false") return text === "true" ? 1 : 0;
  if (/^\d{1,2}$/.test(text)) return Number(text);
  const addresses = text.split(",").map((part) => part.trim());
  if (addresses.every((part) => network.safeParse(part).success && !part.endsWith("/0"))) return addresses;
  const message = 'true, false, how many proxies, or their addresses such as "10.0.0.0/8, ::1"';
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});
export const url = z.url({ protocol: /^https?$/, error: 'a URL such as "https://rpc.example"' });
/** Scheme, host and port, as browsers write them. */
export const origin = z.string().transform((text, context) => {
  const { origin, protocol, href } = URL.parse(text) ?? {};
  if (/^https?:$/.test(protocol ?? "") && href === `${origin}/`) return origin!;
  context.addIssue({ code: "custom", message: `an origin such as "https://hub.example", not ${quoted(text)}` });
  return z.NEVER;
});
