import { expect, test } from "vitest";
import { compareIndexes, type IndexDescription } from "./index-check.ts";

const id: IndexDescription = { name: "_id_", key: { _id: 1 } };
const shard: IndexDescription = { name: "_id_hashed", key: { _id: "hashed" } };
const byAge: IndexDescription = { name: "by_age", key: { created_at: -1, _id: -1 } };
const live: IndexDescription = {
  name: "live",
  key: { live_node: 1 },
  partialFilterExpression: { live_node: { $exists: true } },
};

test("finds nothing to do if all declared indexes exist, whatever the server adds", () => {
  // Versions and 64-bit orders in a server's description make no difference.
  const present = [id, shard, { ...byAge, v: 2, key: { created_at: -1n, _id: -1n } }, live];
  expect(compareIndexes([byAge, live], present)).toEqual({ missing: [], differing: [], unknown: [] });
});

test.each<[string, Partial<IndexDescription>]>([
  ["the order of fields", { key: { _id: -1, created_at: -1 } }],
  ["a direction", { key: { created_at: 1, _id: -1 } }],
  ["a filter", { partialFilterExpression: { state: "queued" } }],
  ["uniqueness", { unique: true }],
  ["sparseness", { sparse: true }],
])("%s makes a difference", (_, change) => {
  const { differing } = compareIndexes([byAge], [id, { ...byAge, ...change }]);
  expect(differing).toEqual([byAge]);
});

test("distinguishes missing and unknown indexes by name", () => {
  const other: IndexDescription = { name: "other", key: { created_at: 1 } };
  expect(compareIndexes([byAge, live], [id, live, other])).toEqual({
    missing: [byAge],
    differing: [],
    unknown: [other],
  });
});
