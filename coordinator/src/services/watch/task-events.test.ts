import { expect, test } from "vitest";
import { TaskEvents } from "./task-events.ts";

test("a task's change is told to those who watch it, until they leave", () => {
  const events = new TaskEvents();
  const told: string[] = [];
  const leave = [
    events.subscribe("0x01", () => told.push("a")),
    events.subscribe("0x01", () => told.push("b")),
    events.subscribe("0x02", () => told.push("c")),
  ];
  events.publish("0x01");
  events.publish("0x03");
  expect(told.splice(0)).toEqual(["a", "b"]);
  expect(events.watched()).toEqual(["0x01", "0x02"]);
  events.publishAll();
  expect(told.splice(0)).toEqual(["a", "b", "c"]);
  leave[0]!();
  events.publish("0x01");
  expect(told.splice(0)).toEqual(["b"]);
  for (const stop of leave) stop();
  events.publishAll();
  expect([told, events.size, events.watched()]).toEqual([[], 0, []]);
});

test("leaving twice does not disturb who came in between", () => {
  const events = new TaskEvents();
  const leave = events.subscribe("0x01", () => {});
  leave();
  let told = 0;
  events.subscribe("0x01", () => told++);
  leave();
  events.publish("0x01");
  expect(told).toBe(1);
});
