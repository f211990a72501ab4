import { createSubscriber } from "svelte/reactivity";

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 1_000);
  return () => clearInterval(timer);
});

/** The present in milliseconds since 1970. Whatever reads it updates each second; all readers share one timer. */
export function now(): number {
  subscribe();
  return Date.now();
}
