import { status } from "@grpc/grpc-js";
import type { Endpoint } from "./endpoint.ts";
import type { SessionEnd } from "./session.ts";

/** What a session's end means. */
export interface Judgement {
  /** Equal for repetitions of one problem, which is logged once. */
  readonly key: string;
  /** One line for people: what is wrong and what to do. */
  readonly advice: string;
  /** Whether a retry would end the same way: certainly, if several in a row did, or not. */
  readonly final: "yes" | "if repeated" | "no";
}

/** What a coordinator's refusal asks of the provider, by the stable codes of docs/reference/protocol.md. */
const ADVICE: Readonly<Record<string, (endpoint: Endpoint) => string>> = {
  BAD_SIGNATURE: () =>
    "it does not accept this node's signature: daemon and coordinator have different versions, update the older one",
  AUDIENCE_REFUSED: ({ audience }) =>
    `${audience} is not one of its names: dial a name that its GRPC_AUDIENCES lists, or give that name with --audience`,
  AUTHORIZATION_REFUSED: () =>
    "it requires a valid NodeAuthorization from the wallet: sign one in the hub and give its file with --authorization",
  PROTOCOL_VIOLATION: () => "it does not understand this daemon: the versions differ, update the older one",
};

const REFUSING_STATUSES: readonly number[] = [
  status.INVALID_ARGUMENT,
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.UNIMPLEMENTED,
];

const NO_PROXY = " To dial it without the proxy of the environment (http_proxy and the like), add its host to no_proxy";

/** What the end of a session with `endpoint` means. */
export function judge(endpoint: Endpoint, end: SessionEnd): Judgement {
  const { code, details } = end.status;
  const key = `${end.welcomed ? "LOST" : "REFUSED"} ${end.error ?? status[code]}`;
  const say = (advice: string, final: Judgement["final"] = "no") => ({ key, advice, final });
  const { proxy } = endpoint;
  const where = proxy === undefined ? endpoint.address : `${endpoint.address} through the proxy ${proxy}`;
  if (end.error === "SESSION_REPLACED") {
    return say(
      `another daemon uses this node's key: stop it, or give this daemon its own --data-dir (coordinator ${where})`,
      "if repeated",
    );
  }
  const advice = end.error === undefined ? undefined : ADVICE[end.error]?.(endpoint);
  if (end.welcomed) {
    if (advice !== undefined)
      return say(`the coordinator ${where} ended the session: ${advice} (${details})`, "if repeated");
    return say(`lost the coordinator ${where} (${details || status[code]})`);
  }
  // Something else answered, on this port or on the way there; this may be temporary.
  if (/^Received HTTP status code|Protocol error/.test(details)) {
    return say(
      `${where} is not a coordinator, or a proxy in front of it fails (${reason(details)}): check host and port`,
    );
  }
  if (advice !== undefined) return say(`the coordinator ${where} refused: ${advice} (${details})`, "yes");
  if (code === status.UNIMPLEMENTED) {
    return say(
      `${where} does not serve proofofcompute.node.v1.NodeService: check host and port, or update the older side`,
      "yes",
    );
  }
  if (REFUSING_STATUSES.includes(code)) return say(`the coordinator ${where} refused: ${details}`, "yes");
  if (/certificate|SSL|TLS|wrong version number|packet length/i.test(details)) {
    return say(
      `no TLS connection to ${where} (${reason(details)}): check --tls-ca, or --insecure where it offers no TLS`,
    );
  }
  if (code === status.UNAVAILABLE && end.error === undefined) {
    return say(
      `cannot reach the coordinator ${where} (${reason(details)}): is it running, is host:port right, is a firewall in between?${proxy === undefined ? "" : NO_PROXY}`,
    );
  }
  return say(`the coordinator ${where} is not ready (${end.error ?? status[code]}: ${details})`);
}

/** The cause within grpc-js's wording. */
function reason(details: string): string {
  const cause = /Last error: (?:Error: )?(.*?)(?:\s*\(\d{4}-|\. Resolution note|$)/s.exec(details)?.[1];
  return (cause === "undefined" ? "" : (cause ?? details)).replace(/\s+/g, " ").slice(0, 160) || "no answer";
}
