import { expect, it } from "vitest";
import { type FaultKind, planFaults, type Shape } from "./network/schedule.ts";

const SHAPE: Shape = { coordinators: 3, daemons: 10, store: "mongodb", mayHurtStore: true };
const MINUTES = 60_000;

it("plans the same faults for the same seed, and others for another seed", () => {
  expect(planFaults(7, 5 * MINUTES, SHAPE)).toEqual(planFaults(7, 5 * MINUTES, SHAPE));
  expect(planFaults(8, 5 * MINUTES, SHAPE)).not.toEqual(planFaults(7, 5 * MINUTES, SHAPE));
});

it("covers every kind, link fault and place over many seeds, but not every kind with each seed", () => {
  const plans = Array.from({ length: 40 }, (_, seed) => planFaults(seed, 2 * MINUTES, SHAPE));
  const faults = plans.flat();
  expect(new Set(faults.map(({ kind }) => kind)).size).toBe(11);
  expect(new Set(faults.flatMap(({ link }) => link?.how ?? [])).size).toBe(6);
  expect(new Set(faults.flatMap(({ link }) => link?.place ?? [])).size).toBe(6);
  expect(new Set(faults.flatMap(({ rpc }) => rpc ?? [])).size).toBe(4);
  expect(plans.every((plan) => new Set(plan.map(({ kind }) => kind)).size === 11)).toBe(false);
});

it("never hits one target twice at a time, and sometimes two targets", () => {
  const plans = Array.from({ length: 40 }, (_, seed) => planFaults(seed, 2 * MINUTES, SHAPE));
  let together = 0;
  for (const plan of plans) {
    for (const [index, fault] of plan.entries()) {
      for (const other of plan.slice(index + 1)) {
        if (other.at >= fault.at + fault.lasts) continue;
        together++;
        const sameProgram = !fault.link && !other.link && fault.kind.split(" ").at(-1) === other.kind.split(" ").at(-1);
        const samePath = fault.link && other.link && fault.link.place === other.link.place;
        if (sameProgram || samePath) expect(other.target).not.toBe(fault.target);
      }
    }
  }
  expect(together).toBeGreaterThan(100);
});

it("spares databases that the test does not own, and paths that do not exist", () => {
  const shape: Shape = { coordinators: 1, daemons: 4, store: "sqlite", mayHurtStore: false };
  const faults = Array.from({ length: 40 }, (_, seed) => planFaults(seed, 2 * MINUTES, shape)).flat();
  const kinds = new Set<FaultKind>(faults.map(({ kind }) => kind));
  expect(kinds.has("kill store") || kinds.has("pause store")).toBe(false);
  expect(faults.some(({ link }) => link?.place === "store" || link?.place === "peers")).toBe(false);
});
