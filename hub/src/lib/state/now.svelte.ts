import { createSubscriber } from "svelte/reactivity";

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 1_000);
  return () => clearInterval(timer);
});

/** The present in ms since 1970; what reads it is rendered again each second, and one timer serves all. */
export function now(): number {
  subscribe();
  return Date.now();
}
