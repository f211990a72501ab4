import { toXdcAddress } from "@proof-of-compute/proto";
import { PROBLEMS, type RestApp, type RestContext } from "../context.ts";
import { readWallet } from "../problems.ts";
import { configSchema, NetworkView, NodePage, NodeStatusQuery, NodeStatusView, NodesQuery } from "./schemas.ts";
import { configView, nodeView } from "./views.ts";

/** The nodes, the network in numbers, and its configuration: all public. */
export function networkRoutes(app: RestApp, context: RestContext): void {
  nodeRoutes(app, context);
  numberRoutes(app, context);
  configRoutes(app, context);
}

function nodeRoutes(app: RestApp, { components, sessions }: RestContext): void {
  const { store, presence } = components;

  app.get(
    "/api/node/status",
    {
      schema: {
        summary: "The nodes of a wallet: whether they are online, when they were last seen, what they run",
        tags: ["nodes"],
        querystring: NodeStatusQuery,
        response: { 200: NodeStatusView, ...PROBLEMS },
      },
    },
    async (request) => {
      const { wallet: text, limit, cursor } = request.query;
      const wallet = text === undefined ? sessions.require(request).wallet : readWallet(text);
      const page = await store.nodes({ wallet, limit, ...(cursor !== undefined && { cursor }) });
      return {
        wallet,
        xdcWallet: toXdcAddress(wallet),
        nodes: page.items.map((node) => nodeView(node, presence)),
        ...(page.cursor !== undefined && { cursor: page.cursor }),
      };
    },
  );

  app.get(
    "/api/nodes",
    {
      schema: {
        summary: "Nodes of the network",
        tags: ["nodes"],
        querystring: NodesQuery,
        response: { 200: NodePage, ...PROBLEMS },
      },
    },
    async (request) => {
      const { limit, cursor, wallet, status } = request.query;
      const page = await store.nodes({
        limit,
        ...(cursor !== undefined && { cursor }),
        ...(wallet !== undefined && { wallet: readWallet(wallet) }),
        ...(status !== undefined && { status }),
      });
      const items = page.items.map((node) => nodeView(node, presence));
      return { items, ...(page.cursor !== undefined && { cursor: page.cursor }) };
    },
  );
}

function numberRoutes(app: RestApp, { numbers }: RestContext): void {
  app.get(
    "/api/network",
    {
      schema: {
        summary: "The network in numbers",
        description: "Counted at most every two seconds, whichever coordinator answers.",
        tags: ["network"],
        response: { 200: NetworkView, ...PROBLEMS },
      },
    },
    () => numbers.view(),
  );
}

function configRoutes(app: RestApp, { components, init, sessions }: RestContext): void {
  const { kinds } = components;
  const config = configView(init, kinds, sessions.chainId);

  app.get(
    "/api/config",
    {
      schema: {
        summary: "What a client needs to know of this network",
        tags: ["network"],
        response: { 200: configSchema(kinds), ...PROBLEMS },
      },
    },
    async () => config,
  );
}
