import type { IForbiddenRuleType } from "dependency-cruiser";

const COORDINATOR = "^coordinator/src";
const TEST = "\\.test\\.ts$";

/** Rooms of the coordinator, and the other rooms that each may import. The protocol and npm packages are open to all. */
const ROOMS = {
  domain: [],
  net: [],
  ports: ["domain"],
  util: ["domain", "ports"],
  kinds: ["domain", "ports", "util"],
  services: ["domain", "ports", "util", "kinds"],
  adapters: ["domain", "ports", "util", "net"],
  settings: ["domain", "net"],
  edges: ["domain", "ports", "util", "net", "kinds", "services"],
  compose: ["domain", "ports", "util", "net", "kinds", "services", "adapters", "settings", "edges"],
  commands: ["domain", "ports", "util", "net", "services", "settings", "compose"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

function roomRule([room, open]: [string, readonly string[]]): IForbiddenRuleType {
  return {
    name: open.length > 0 ? `${room}/ imports ${open.join(", ")} alone` : `${room}/ imports no other room`,
    severity: "error",
    from: { path: `${COORDINATOR}/${room}/`, pathNot: TEST },
    // The version is not a room.
    to: { path: COORDINATOR, pathNot: `${COORDINATOR}/((${[room, ...open].join("|")})/|version\\.ts$)` },
  };
}

/** What no import may do, as dependency-cruiser reads it. */
export const RULES: readonly IForbiddenRuleType[] = [
  ...Object.entries(ROOMS).map(roomRule),
  {
    name: "every import exists",
    severity: "error",
    from: {},
    to: { couldNotResolve: true },
  },
  {
    name: "imports form no circle; types of two files may name each other",
    severity: "error",
    from: {},
    to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
  },
  {
    name: "the protocol imports no other package",
    severity: "error",
    from: { path: "^proto/src/", pathNot: TEST },
    to: { path: "^(coordinator|daemon|hub|tests|scripts|bench)/" },
  },
  {
    name: "coordinator and daemon meet on the wire alone",
    severity: "error",
    from: { path: "^(coordinator|daemon)/src/", pathNot: TEST },
    to: { path: "^(coordinator|daemon|hub|scripts|bench)/", pathNot: "^$1/" },
  },
  {
    name: "nothing that ships imports tests or their helpers",
    severity: "error",
    from: { path: "^(proto|coordinator|daemon)/src/", pathNot: `${TEST}|/testing[^/]*\\.ts$` },
    to: { path: `^tests/|${TEST}` },
  },
];
