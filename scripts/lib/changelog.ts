/** Headings of Keep a Changelog (https://keepachangelog.com), in the order in which a release lists them. */
export const SECTIONS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"] as const;
export type Section = (typeof SECTIONS)[number];

/** One file of `.changeset/`. */
export interface Changeset {
  /** Packages whose version it raises, and by how much. */
  readonly bumps: Readonly<Record<string, "major" | "minor" | "patch">>;
  readonly section: Section;
  /** Markdown, without the word of the section. */
  readonly text: string;
}

const FILE = /^---\n(?<bumps>[\s\S]*?)\n---\n\s*(?<section>\w+): (?<text>[\s\S]+)$/;
const BUMP = /^"(?<name>[^"]+)": (?<bump>major|minor|patch)$/;
const NEXT_RELEASE = "## [Unreleased]\n";

/** Reads a changeset. Throws an Error that says what is wrong with its form. */
export function parseChangeset(content: string): Changeset {
  const parts = FILE.exec(content)?.groups;
  if (!parts)
    throw new Error("a changeset is front matter, an empty line, and a text such as `Added: what there is now`");
  const section = SECTIONS.find((name) => name === parts.section);
  if (!section)
    throw new Error(`a changeset's text begins with one of ${SECTIONS.join(", ")}, not with ${parts.section}`);
  const bumps = parts.bumps!.split("\n").map((line) => {
    const bump = BUMP.exec(line)?.groups;
    if (!bump) throw new Error(`not a package and its bump: ${line}`);
    return [bump.name!, bump.bump as "major" | "minor" | "patch"] as const;
  });
  return { bumps: Object.fromEntries(bumps), section, text: parts.text!.trim() };
}

/** Puts a release below the line "Unreleased". `date` as in 2026-12-31. Throws an Error when that line is missing. */
export function addRelease(changelog: string, version: string, date: string, changesets: readonly Changeset[]): string {
  const [before, after, ...more] = changelog.split(NEXT_RELEASE);
  if (before === undefined || after === undefined || more.length > 0) {
    throw new Error(`the changelog needs the line "${NEXT_RELEASE.trim()}", once`);
  }
  const sections = SECTIONS.flatMap((section) => {
    const entries = changesets.filter((changeset) => changeset.section === section);
    return entries.length === 0 ? [] : [`### ${section}\n\n${entries.map(({ text }) => listItem(text)).join("\n")}`];
  });
  return `${before}${NEXT_RELEASE}\n## [${version}] - ${date}\n\n${sections.join("\n\n")}\n${after}`;
}

function listItem(text: string): string {
  return `- ${text.replaceAll("\n", "\n  ").replaceAll(/^ +$/gm, "")}`;
}
