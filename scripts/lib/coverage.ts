import { dirname, relative, sep } from "node:path";

/** How much of something the tests ran. */
interface Count {
  readonly total: number;
  readonly covered: number;
}

/** What istanbul's `json-summary` report says of each file, by absolute path, and of all of them as `total`. */
export type CoverageSummary = Readonly<Record<string, { readonly lines: Count; readonly branches: Count }>>;

export interface RoomCoverage {
  /** Folder of the modules, at most `package/src/room/part`. */
  readonly room: string;
  readonly lines: Count;
  readonly branches: Count;
}

/** Folders below this depth count as part of the room above them. */
const ROOM_DEPTH = 4;

function add(one: Count, other: Count): Count {
  return { total: one.total + other.total, covered: one.covered + other.covered };
}

/** Sums a report by room, in alphabetical order. */
export function coverageByRoom(summary: CoverageSummary, root: string): RoomCoverage[] {
  const rooms = new Map<string, RoomCoverage>();
  for (const [file, { lines, branches }] of Object.entries(summary)) {
    if (file === "total") continue;
    const room = dirname(relative(root, file)).split(sep).slice(0, ROOM_DEPTH).join("/");
    const before = rooms.get(room);
    rooms.set(room, {
      room,
      lines: before ? add(before.lines, lines) : lines,
      branches: before ? add(before.branches, branches) : branches,
    });
  }
  return [...rooms.values()].sort((a, b) => (a.room < b.room ? -1 : 1));
}

function percent({ total, covered }: Count): string {
  return total === 0 ? "-" : `${((100 * covered) / total).toFixed(1)} %`;
}

/** A table for the terminal, a row a room. */
export function renderCoverage(rooms: readonly RoomCoverage[]): string {
  const width = Math.max(...rooms.map(({ room }) => room.length));
  const row = (room: string, lines: string, branches: string) =>
    `${room.padEnd(width)}  ${lines.padStart(9)}  ${branches.padStart(9)}`;
  return [
    row("", "lines", "branches"),
    ...rooms.map(({ room, lines, branches }) => row(room, percent(lines), percent(branches))),
  ].join("\n");
}
