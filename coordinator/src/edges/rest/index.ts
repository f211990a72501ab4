export { createRest } from "./app.ts";
export type { RestComponents } from "./components.ts";
export type { BatchSummary } from "./ledger/schemas.ts";
export type { ConfigView, NodeView } from "./network/schemas.ts";
export { STATUS } from "./problems.ts";
export type { Problem } from "./schemas.ts";
export type { DispatchRequest, TaskView } from "./tasks/schemas.ts";
