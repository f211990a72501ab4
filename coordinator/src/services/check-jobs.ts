/** One result to judge; all that the check needs, in bytes. */
export interface CheckJob {
  readonly assignmentId: Uint8Array;
  readonly taskId: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly specDigest: Uint8Array;
  /** What the node signed. */
  readonly outputDigest: Uint8Array;
  readonly n: number;
  readonly k: number;
  readonly output: Uint8Array;
}

/** Jobs in one buffer that changes hands: to clone the arrays of a small job costs a quarter of its check. */
export interface PackedJobs {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** n, k and the length of the output, job after job. */
  readonly shapes: readonly number[];
}

/** Bytes of a job before its output: ids, then digests. */
const HEAD_BYTES = 16 + 16 + 32 + 32 + 32;

export function packJobs(jobs: readonly CheckJob[]): PackedJobs {
  const bytes = Buffer.allocUnsafeSlow(jobs.reduce((sum, { output }) => sum + HEAD_BYTES + output.length, 0));
  let at = 0;
  for (const { assignmentId, taskId, nodeId, specDigest, outputDigest, output } of jobs) {
    for (const part of [assignmentId, taskId, nodeId, specDigest, outputDigest, output]) {
      bytes.set(part, at);
      at += part.length;
    }
  }
  return { bytes, shapes: jobs.flatMap(({ n, k, output }) => [n, k, output.length]) };
}

export function unpackJobs({ bytes, shapes }: PackedJobs): CheckJob[] {
  const jobs: CheckJob[] = [];
  let at = 0;
  const next = (length: number) => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  for (let i = 0; i < shapes.length; i += 3) {
    jobs.push({
      assignmentId: next(16),
      taskId: next(16),
      nodeId: next(32),
      specDigest: next(32),
      outputDigest: next(32),
      n: shapes[i]!,
      k: shapes[i + 1]!,
      output: next(shapes[i + 2]!),
    });
  }
  return jobs;
}
