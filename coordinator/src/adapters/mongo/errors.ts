import mongoose from "mongoose";
import { ComputeError } from "../../domain/errors.ts";

const { MongoError, MongoBulkWriteError, MongoServerError, MongoWriteConcernError } = mongoose.mongo;

/** Code of a write that found its `_id` taken. */
const DUPLICATE_KEY = 11_000;

/** Answers of a server that cannot serve now, or not us; any other code is a fault of a command of ours. */
const AWAY_CODES: ReadonlySet<unknown> = new Set([
  6, // HostUnreachable
  7, // HostNotFound
  13, // Unauthorized
  18, // AuthenticationFailed
  50, // MaxTimeMSExpired
  64, // WriteConcernTimeout
  89, // NetworkTimeout
  91, // ShutdownInProgress
  100, // UnsatisfiableWriteConcern
  133, // FailedToSatisfyReadPreference
  134, // ReadConcernMajorityNotAvailableYet
  189, // PrimarySteppedDown
  262, // ExceededTimeLimit
  9001, // SocketException
  10_058, // LegacyNotPrimary
  10_107, // NotWritablePrimary
  11_600, // InterruptedAtShutdown
  11_602, // InterruptedDueToReplStateChange
  13_435, // NotPrimaryNoSecondaryOk
  13_436, // NotPrimaryOrSecondary
  14_031, // OutOfDiskSpace
]);

/** Hosts of a connection string, without user, password and options. */
export function hostsOf(uri: string): string {
  const authority = uri.replace(/^mongodb(\+srv)?:\/\//, "").split(/[/?]/)[0]!;
  return authority.slice(authority.lastIndexOf("@") + 1);
}

/** Whether a write was refused because its `_id` is taken. */
export function isDuplicateKey(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === DUPLICATE_KEY;
}

/** What a bulk did whose only failures are taken ids; rethrows any other error. */
export function resultOfBulk(error: unknown): mongoose.mongo.BulkWriteResult {
  if (!(error instanceof MongoBulkWriteError)) throw error;
  const { writeErrors, result } = error;
  const failures = Array.isArray(writeErrors) ? writeErrors : [writeErrors];
  const isHarmless = failures.length > 0 && failures.every(({ code }) => code === DUPLICATE_KEY);
  if (!isHarmless || result.getWriteConcernError()) throw error;
  return result;
}

/** UNAVAILABLE where MongoDB was away or refused us; our own faults stay as they are. `hosts` is what people may read. */
export function storeError(error: unknown, hosts: string): unknown {
  // By name: the driver's parser has a class of its own. Its message may repeat the string, password included.
  if ((error as Error)?.name === "MongoParseError") {
    return new ComputeError("UNAVAILABLE", "MONGODB_URI is not a connection string that MongoDB understands");
  }
  if (isUndurable(error)) {
    return new ComputeError("UNAVAILABLE", `MongoDB at ${hosts} could not make a write durable`, { cause: error });
  }
  if (isAnswer(error)) {
    if (!AWAY_CODES.has(error.code) && !error.hasErrorLabel("RetryableWriteError")) return error;
    const message = `MongoDB at ${hosts} (from MONGODB_URI) refuses: ${error.message}`;
    return new ComputeError("UNAVAILABLE", message, { cause: error });
  }
  const isDrivers = error instanceof MongoError || error instanceof mongoose.MongooseError;
  if (!isDrivers && !isSystemError(error)) return error;
  return new ComputeError("UNAVAILABLE", `MongoDB does not answer at ${hosts} (from MONGODB_URI)`, { cause: error });
}

/**
 * Runs an upsert of an `_id` until it is the only one there is: one that collides with another finds the document there at
 * its second try.
 */
export async function upsert<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!isDuplicateKey(error)) throw error;
    return run();
  }
}

function isUndurable(error: unknown): boolean {
  if (error instanceof MongoBulkWriteError) return error.result.getWriteConcernError() !== undefined;
  return error instanceof MongoWriteConcernError;
}

/** Whether a server said so. The driver wraps lost connections of a bulk in an error without a code, or a system's. */
function isAnswer(error: unknown): error is mongoose.mongo.MongoServerError {
  return error instanceof MongoServerError && typeof error.code === "number";
}

/** Of a socket: what the driver (7.8) passes on as it is when a write fails at once. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}
