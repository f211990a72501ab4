import { equal } from "@proof-of-compute/proto";
import type { Kind } from "@proof-of-compute/proto/kinds";
import type { EchoSpec } from "@proof-of-compute/proto/task";

/** Bytes that an input may have. */
export const INPUT_BYTES = { min: 1, max: 1024 } as const;

/** The smallest kind of task: its output is its input. Only tests register it. */
export const echo: Kind<EchoSpec> = {
  name: "echo",
  specCase: "echo",
  parse(member) {
    const { input } = member as EchoSpec;
    if (input.length < INPUT_BYTES.min || input.length > INPUT_BYTES.max) {
      throw new RangeError(`input has ${INPUT_BYTES.min} to ${INPUT_BYTES.max} bytes, not ${input.length}`);
    }
    return { input };
  },
  bounds: ({ input }) => ({ maxOutputBytes: input.length, maxUnits: BigInt(input.length), unitsAreExact: true }),
  units({ input }, output) {
    if (output.length !== input.length) {
      throw new RangeError(`the output has ${input.length} bytes, not ${output.length}`);
    }
    return BigInt(input.length);
  },
  assurance: "proven",
  canFail: false,
  deterministic: true,
  title: ({ input }) => `echo of ${input.length} ${input.length === 1 ? "byte" : "bytes"}`,
  links: [
    {
      name: "echo",
      about: "The result is the input of the task.",
      check({ spec, output }) {
        const holds = equal(spec.input, output);
        return { holds, detail: `the output is ${holds ? "" : "not "}the input` };
      },
    },
  ],
  recompute: ({ spec }) => spec.input.slice(),
};
