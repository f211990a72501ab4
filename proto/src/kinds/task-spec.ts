import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { TaskSpec } from "../../gen/proofofcompute/node/v1/task.ts";
import { equal } from "../bytes.ts";
import type { Kind } from "./kind.ts";

/** The fields of a TaskSpec that every kind has. */
export interface TaskTerms {
  /** 0: no chain was known when the task was submitted. */
  readonly chainId: bigint;
  /** 20 bytes; none when `chainId` is 0. */
  readonly contract: Uint8Array;
  /** 20 bytes. */
  readonly requester: Uint8Array;
  /** Milliseconds since 1970. */
  readonly deadline: bigint;
}

/** A decoded TaskSpec. */
export type ReadTaskSpec = TaskTerms &
  (
    | { readonly kind: Kind /** As `kind.parse` returned it. */; readonly spec: unknown }
    /** The registry lacks the kind; a newer program may have it. */
    | { readonly kind: undefined }
  );

/** The fields of TaskSpec up to this number are the same for all kinds. */
const LAST_COMMON_FIELD = 4;

/**
 * Decodes a TaskSpec. A kind that is not in `kinds` is not an error: `kind` is undefined. Throws a TypeError for every encoding
 * but the canonical one of {@link writeTaskSpec}, because a spec has one digest, and what `kind.parse` throws for impossible
 * parameters.
 */
export function readTaskSpec(bytes: Uint8Array, kinds: Iterable<Kind>): ReadTaskSpec {
  const { kind: member, deadlineUnixMs: deadline, ...common } = decode(bytes);
  const terms: TaskTerms = { ...common, deadline };
  if (member) {
    for (const kind of kinds) {
      if (kind.specCase === member.$case) return { ...terms, kind, spec: kind.parse(member.value) };
    }
  }
  return { ...terms, kind: undefined };
}

/** Encodes a TaskSpec. */
export function writeTaskSpec<Spec>(terms: TaskTerms, kind: Kind<Spec>, spec: Spec): Uint8Array {
  const { deadline: deadlineUnixMs, ...common } = terms;
  const member = { $case: kind.specCase, value: spec } as unknown as NonNullable<TaskSpec["kind"]>;
  return TaskSpec.encode({ ...common, deadlineUnixMs, kind: member }).finish();
}

function decode(bytes: Uint8Array): TaskSpec {
  let message: TaskSpec;
  try {
    message = TaskSpec.decode(bytes);
  } catch (cause) {
    throw new TypeError("the spec is not a TaskSpec", { cause });
  }
  const canonical = TaskSpec.encode(message).finish();
  if (equal(canonical, bytes)) {
    if (!message.kind) throw new TypeError("the spec names no kind");
  } else if (message.kind || !equal(canonical, bytes.subarray(0, canonical.length))) {
    throw new TypeError("the spec is not encoded canonically");
  } else {
    checkNewerKind(bytes.subarray(canonical.length));
  }
  return message;
}

/** Checks the bytes after the common fields when the generated code finds no kind: a newer version may have one. */
function checkNewerKind(bytes: Uint8Array): void {
  let messages = 0;
  try {
    for (const reader = new BinaryReader(bytes); reader.pos < reader.len; ) {
      const [field, type] = reader.tag();
      if (field <= LAST_COMMON_FIELD) throw new TypeError(`field ${field} is out of order`);
      if (type === WireType.LengthDelimited) messages++;
      reader.skip(type, field);
    }
  } catch (cause) {
    throw new TypeError("the spec is not encoded canonically", { cause });
  }
  if (messages === 0) throw new TypeError("the spec names no kind");
}
