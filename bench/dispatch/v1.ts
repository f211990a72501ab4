/**
 * Peer (b), the way of the first plan: every node is an HTTP server (Express), the dispatcher POSTs each task to one
 * (axios), as JSON and with a shared secret. Nothing is computed, checked or stored. Both at their defaults.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import axios from "axios";
import express from "express";
import { Contender, closedLoop, contend } from "../contender.ts";
import { NODES, RESPONSE_BYTES, SLOTS, TASK } from "./load.ts";

const SECRET = "bench";

async function dispatch(): Promise<void> {
  const { contender: nodes, said } = await Contender.start(new URL(import.meta.url), ["nodes"]);
  const url = `http://127.0.0.1:${said}/compute-task`;
  const headers = { authorization: `Bearer ${SECRET}` };
  let next = 0;
  const post = async () => {
    const taskId = (next++).toString(16).padStart(32, "0");
    const { data } = await axios.post(url, { taskId, kind: "matmul", ...TASK }, { headers });
    if (data.taskId !== taskId) throw new Error("the node answered for another task");
  };
  contend(
    url,
    (milliseconds) => closedLoop(NODES * SLOTS, milliseconds, post),
    () => nodes.stop(),
  );
}

async function listen(): Promise<void> {
  // base64 grows by a third; the same output is inside.
  const output = randomBytes(RESPONSE_BYTES).toString("base64");
  const app = express().use(express.json());
  app.post("/compute-task", (request, response) => {
    if (request.headers.authorization !== `Bearer ${SECRET}`) return void response.sendStatus(401);
    response.json({ taskId: request.body.taskId, status: "complete", output });
  });
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  contend(
    String((server.address() as AddressInfo).port),
    () => Promise.reject(new Error("the nodes of V1 do not measure")),
    () => server.closeAllConnections(),
  );
}

if (process.argv[2] === "nodes") await listen();
else await dispatch();
