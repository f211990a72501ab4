export { resolveSettings } from "./read.ts";
export { readKeystore } from "./recorder-key.ts";
export { flagOf, SETTINGS } from "./table.ts";
