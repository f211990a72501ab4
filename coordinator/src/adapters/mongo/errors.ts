import mongoose from "mongoose";
import { ComputeError } from "../../domain/errors.ts";

const { MongoError, MongoBulkWriteError, MongoServerError, MongoWriteConcernError } = mongoose.mongo;

/** Error code of a write with an `_id` that is taken. */
const DUPLICATE_KEY = 11_000;

/** Error codes of a server that cannot serve now, or not this client; any other code is a bug in a command. */
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

/** The hosts in a connection string, without user, password and options. */
export function hostsOf(uri: string): string {
  const authority = uri.replace(/^mongodb(\+srv)?:\/\//, "").split(/[/?]/)[0]!;
  return authority.slice(authority.lastIndexOf("@") + 1);
}

/** Whether a write was refused because its `_id` is taken. */
export function isDuplicateKey(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === DUPLICATE_KEY;
}

/** The result of a bulk write whose only errors are taken ids; rethrows other errors. */
export function resultOfBulk(error: unknown): mongoose.mongo.BulkWriteResult {
  if (!(error instanceof MongoBulkWriteError)) throw error;
  const { writeErrors, result } = error;
  const failures = Array.isArray(writeErrors) ? writeErrors : [writeErrors];
  const isHarmless = failures.length > 0 && failures.every(({ code }) => code === DUPLICATE_KEY);
  if (!isHarmless || result.getWriteConcernError()) throw error;
  return result;
}

/** UNAVAILABLE if MongoDB was unavailable or refused this client; bugs stay as they are. `hosts` is for people. */
export function storeError(error: unknown, hosts: string): unknown {
  // By name, because the driver's parser has a class of its own. Its message may contain the string with the password.
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
 * Runs an upsert of an `_id`, and repeats it if it collides with a concurrent one; the second attempt finds the document.
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

/**
 * Whether a server sent the error. The driver wraps a bulk's lost connection in an error without a code, or the system's.
 */
function isAnswer(error: unknown): error is mongoose.mongo.MongoServerError {
  return error instanceof MongoServerError && typeof error.code === "number";
}

/** A socket's error, which the driver (7.8) passes on when a write fails at once. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}
