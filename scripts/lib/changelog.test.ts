import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { addRelease, parseChangeset } from "./changelog.ts";

const ROOT = join(import.meta.dirname, "../..");
const PACKAGE = "@proof-of-compute/coordinator";

function changeset(text: string, bumps = `"${PACKAGE}": minor`): string {
  return `---\n${bumps}\n---\n\n${text}\n`;
}

describe("a changeset", () => {
  test("names packages, a section and what changed", () => {
    expect(parseChangeset(changeset("Fixed: a task of an unknown kind is listed.\n\nIt was not."))).toEqual({
      bumps: { [PACKAGE]: "minor" },
      section: "Fixed",
      text: "a task of an unknown kind is listed.\n\nIt was not.",
    });
  });

  test.each([
    ["no front matter", "Added: something\n", /front matter/],
    ["no section", changeset("something"), /Added: what there is now/],
    ["a section that changelogs do not have", changeset("New: something"), /begins with one of Added, .* not with New/],
    ["a bump that does not exist", changeset("Added: something", `"${PACKAGE}": huge`), /not a package and its bump/],
  ])("is refused with %s", (_, content, message) => {
    expect(() => parseChangeset(content)).toThrow(message);
  });
});

describe("a release", () => {
  const CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-11-23\n\nThe first.\n";

  test("lists what changed by section, and goes between what is to come and what was before", () => {
    const changesets = ["Fixed: one.", "Added: two,\nin two lines.", "Fixed: three."].map((text) =>
      parseChangeset(changeset(text)),
    );
    expect(addRelease(CHANGELOG, "0.2.0", "2026-12-24", changesets)).toBe(`# Changelog

## [Unreleased]

## [0.2.0] - 2026-12-24

### Added

- two,
  in two lines.

### Fixed

- one.
- three.

## [0.1.0] - 2026-11-23

The first.
`);
  });

  test("is refused for a changelog without a place for it", () => {
    expect(() => addRelease("# Changelog\n", "0.2.0", "2026-12-24", [])).toThrow(/needs the line/);
  });
});

test("every changeset of the repository is in form, and names packages that exist", () => {
  const workspaces = (JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { workspaces: string[] })
    .workspaces;
  const packages = workspaces.map(
    (folder) => (JSON.parse(readFileSync(join(ROOT, folder, "package.json"), "utf8")) as { name: string }).name,
  );
  const files = readdirSync(join(ROOT, ".changeset")).filter((name) => name.endsWith(".md") && name !== "README.md");
  for (const file of files) {
    const { bumps } = parseChangeset(readFileSync(join(ROOT, ".changeset", file), "utf8"));
    expect(packages, file).toEqual(expect.arrayContaining(Object.keys(bumps)));
  }
});

test("the changelog has a place for the next release, and tells of the present one", () => {
  const changelog = readFileSync(join(ROOT, "CHANGELOG.md"), "utf8");
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  expect(
    changelog
      .split("\n## [")
      .slice(1, 3)
      .map((release) => release.split("]")[0]),
  ).toEqual(["Unreleased", version]);
});
