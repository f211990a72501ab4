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
  /** n, k and the length of the output, job after job; {@link SHARED} as length: it is the next one of `shared`. */
  readonly shapes: readonly number[];
  /** Outputs in memory that both threads see: uploads, which are too large to be copied on the event loop. */
  readonly shared: readonly Uint8Array[];
}

/** Bytes of a job before its output: ids, then digests. */
const HEAD_BYTES = 16 + 16 + 32 + 32 + 32;

/** Stands for the length of a shared output. */
const SHARED = -1;

export function packJobs(jobs: readonly CheckJob[]): PackedJobs {
  const isShared = ({ output }: CheckJob) => output.buffer instanceof SharedArrayBuffer;
  const size = (job: CheckJob) => HEAD_BYTES + (isShared(job) ? 0 : job.output.length);
  const bytes = Buffer.allocUnsafeSlow(jobs.reduce((sum, job) => sum + size(job), 0));
  const shapes: number[] = [];
  const shared: Uint8Array[] = [];
  let at = 0;
  const put = (part: Uint8Array) => {
    bytes.set(part, at);
    at += part.length;
  };
  for (const job of jobs) {
    const { assignmentId, taskId, nodeId, specDigest, outputDigest, n, k, output } = job;
    for (const part of [assignmentId, taskId, nodeId, specDigest, outputDigest]) put(part);
    if (isShared(job)) {
      shared.push(output);
      shapes.push(n, k, SHARED);
    } else {
      put(output);
      shapes.push(n, k, output.length);
    }
  }
  return { bytes, shapes, shared };
}

export function unpackJobs({ bytes, shapes, shared }: PackedJobs): CheckJob[] {
  const jobs: CheckJob[] = [];
  const uploads = shared.values();
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
      output: shapes[i + 2] === SHARED ? uploads.next().value! : next(shapes[i + 2]!),
    });
  }
  return jobs;
}
