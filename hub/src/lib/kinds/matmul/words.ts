import type { Task } from "#lib/api/client.ts";

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** The matrices of a product: "5 matrices, 1024 × 1024". */
export function matrices({ n, k }: { readonly n: number; readonly k: number }): string {
  return `${k} matrices, ${n} × ${n}`;
}

/** What the form calls a preset of the coordinator's. */
export function presetLabel(name: string): string {
  return name === "showcase" ? "Medium" : name.charAt(0).toUpperCase() + name.slice(1);
}

/** Writes a power of two with its exponent raised: "2^-112" as "2⁻¹¹²". */
function raised(power: string): string {
  return power.replace(/\^(-?)(\d+)/, (_, sign: string, exponent: string) => {
    const digits = Array.from(exponent, (digit) => SUPERSCRIPTS[Number(digit)]);
    return `${sign && "⁻"}${digits.join("")}`;
  });
}

/** How the product of a verified task was checked. */
export function checkOf({ matmul }: Task): string {
  const bound = matmul?.check?.errorBound;
  return `Checked with Freivalds’ algorithm${bound ? `: a wrong product passes with probability at most ${raised(bound)}` : ""}.`;
}
