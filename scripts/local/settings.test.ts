import { expect, test } from "vitest";
import { Coordinators } from "./coordinators.ts";
import { readLocalSettings } from "./settings.ts";
import { LocalError } from "./terminal.ts";

test.each([
  ["mongodb://127.0.0.1:27017/?replicaSet=rs0", "MongoDB at 127.0.0.1:27017, database proof_of_compute"],
  ["mongodb://a:secret@db1:27017,db2/network", "MongoDB at db1:27017, db2, database network"],
  ["mongodb+srv://a:s%40cret@cluster.example", "MongoDB at cluster.example, database proof_of_compute"],
  ["mongodb://a:sec@ret@[::1]:27017/x?w=1", "MongoDB at [::1]:27017, database x"],
])("%s is shown without its password", (uri, title) => {
  expect(readLocalSettings([], { MONGODB_URI: uri }).store).toEqual({ kind: "mongodb", uri, title });
});

test.each(["mongodb://user:sec/ret@db1:27017/network", "mongodb://", "https://db1:27017"])(
  "%s is no MongoDB, which is said without showing it",
  (uri) => {
    const read = () => readLocalSettings([], { MONGODB_URI: uri });
    expect(read).toThrow(LocalError);
    expect(read).toThrow(/^MONGODB_URI is not a MongoDB connection string(?!.*sec)/);
  },
);

test("several coordinators need MONGODB_URI, one does not", () => {
  expect(readLocalSettings([], {}).store.kind).toBe("sqlite");
  expect(() => readLocalSettings(["--coordinators", "2"], {})).toThrow(/set MONGODB_URI.*docker run/s);
  const uri = "mongodb://127.0.0.1:27017";
  expect(readLocalSettings(["--coordinators", "2"], { MONGODB_URI: uri }).coordinators).toBe(2);
});

test("takes the port of addresses in the environment, and the host and port of flags", () => {
  const env = { HTTP_ADDRESS: "0.0.0.0:8080", GRPC_ADDRESS: "[::1]:9090" };
  expect(readLocalSettings([], env)).toMatchObject({
    http: { host: "127.0.0.1", port: 8080 },
    grpc: { host: "::1", port: 9090 },
  });
  expect(readLocalSettings(["--http-address", "0.0.0.0:80"], env).http).toMatchObject({ host: "0.0.0.0", port: 80 });
});

test.each([
  ["0.0.0.0:50051", "127.0.0.1:50051", "127.0.0.1:50052"],
  ["[::]:50051", "[::1]:50051", "[::1]:50052"],
  ["10.0.0.11:50051", "10.0.0.11:50051", "10.0.0.11:50052"],
])("coordinators that listen at %s are dialled at %s", (address, ...dialled) => {
  const uri = "mongodb://127.0.0.1:27017";
  const settings = readLocalSettings(["--coordinators", "2", "--grpc-address", address], { MONGODB_URI: uri });
  const coordinators = new Coordinators({ say: () => {}, onFailure: () => {} }, { settings, root: "." });
  expect(coordinators.grpcAddresses).toEqual(dialled);
});
