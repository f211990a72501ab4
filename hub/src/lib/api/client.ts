import createClient from "openapi-fetch";
import { sentence } from "#lib/format.ts";
import type { components, paths } from "./schema.d.ts";

type Schemas = components["schemas"];
export type BatchSummary = Schemas["BatchSummary"];
export type Config = Schemas["Config"];
export type DispatchRequest = Extract<
  paths["/api/node/dispatch-task"]["post"]["requestBody"],
  { content: unknown }
>["content"]["application/json"];
export type NetworkView = Schemas["Network"];
export type Node = Schemas["Node"];
export type Task = Schemas["Task"];
export type TaskState = Task["state"];

/** A request that did not succeed; the message is for people. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  /** Stable code of the coordinator (docs/reference/errors.md), or UNREACHABLE. */
  readonly code: string;
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** Id under which the coordinator logged the request. */
  readonly requestId: string | undefined;

  constructor(code: string, status: number, message: string, requestId?: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.status = status;
    this.requestId = requestId;
  }
}

/** The typed client of the REST facade, on this page's origin. */
export const api = createClient<paths>({ baseUrl: "/" });

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Awaits a call of {@link api} and returns the body. Throws {@link ApiError} unless the call succeeded. */
export async function call<T>(request: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await request;
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new ApiError("UNREACHABLE", 0, "The coordinator does not answer.", undefined, { cause });
  }
  const { data, error, response } = answer;
  if (response.ok) return data as T;
  const { code, detail, instance } = (error ?? {}) as Partial<Schemas["Problem"]>;
  throw new ApiError(
    code ?? "UNREACHABLE",
    response.status,
    detail ?? `The coordinator answered with status ${response.status}.`,
    instance,
  );
}

/** Whether the caller aborted the call. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Whether a call failed because nobody is signed in. */
export function isSignedOut(error: unknown): boolean {
  return error instanceof ApiError && error.status === 401;
}

/** The message of anything that was thrown, as a sentence for people. */
export function messageOf(error: unknown): string {
  return sentence(error instanceof Error ? error.message : String(error));
}
