import mongoose from "mongoose";
import { expect, test } from "vitest";
import { ComputeError } from "../../domain/errors.ts";
import { hostsOf, storeError, upsert } from "./errors.ts";

const { MongoBulkWriteError, MongoNetworkError, MongoServerError, MongoServerSelectionError } = mongoose.mongo;

test.each([
  ["mongodb://host", "host"],
  ["mongodb://a:1,b:2,c:3/db?replicaSet=rs0", "a:1,b:2,c:3"],
  ["mongodb://user:p%40ss@host:27017/db", "host:27017"],
  ["mongodb+srv://user:pa@ss@cluster.example?w=1", "cluster.example"],
])("of %s only %s is told", (uri, hosts) => {
  expect(hostsOf(uri)).toBe(hosts);
});

const reset = Object.assign(new Error("write ECONNRESET"), { code: "ECONNRESET", errno: -104, syscall: "write" });
const bulk = (error: unknown) =>
  new MongoBulkWriteError(error as never, { getWriteConcernError: () => undefined } as never);

test.each([
  ["a lost connection", new MongoNetworkError("read ECONNRESET")],
  ["a lost connection in a bulk", bulk(new MongoNetworkError("read ECONNRESET"))],
  ["a write to a connection that was just lost", reset],
  ["such a write of a bulk", bulk(reset)],
  ["no primary", new MongoServerSelectionError("timed out", {} as never)],
  ["a primary that stepped down", new MongoServerError({ message: "not primary", code: 10_107 })],
  ["a wrong password", new MongoServerError({ message: "Authentication failed.", code: 18 })],
  ["a full disk", bulk(new MongoServerError({ message: "no space", code: 14_031 }))],
  ["a closed connection", new mongoose.MongooseError("Connection was force closed")],
])("%s is UNAVAILABLE, and says where", (_, error) => {
  const translated = storeError(error, "db.example:27017");
  expect(translated).toMatchObject({ code: "UNAVAILABLE", cause: error });
  expect((translated as Error).message).toContain("db.example:27017");
});

test.each([
  ["what we said already", new ComputeError("NOT_FOUND")],
  ["a command that no server understands", new MongoServerError({ message: "unknown operator", code: 2 })],
  ["a taken id", new MongoServerError({ message: "E11000", code: 11_000 })],
  ["a fault of ours", new TypeError("undefined is not a function")],
])("%s stays as it is", (_, error) => {
  expect(storeError(error, "db.example")).toBe(error);
});

test("repeats an upsert that collides once", async () => {
  const duplicate = new MongoServerError({ message: "E11000", code: 11_000 });
  let tries = 0;
  const once = async () => {
    if (tries++ === 0) throw duplicate;
    return tries;
  };
  expect(await upsert(once)).toBe(2);
  await expect(upsert(() => Promise.reject(duplicate))).rejects.toBe(duplicate);
});
