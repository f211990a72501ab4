import adapter from "@sveltejs/adapter-static";
import { sveltekit } from "@sveltejs/kit/vite";
import tailwindcss from "@tailwindcss/vite";
import { defineConfig } from "vite";
import { REACH } from "./src/lib/chain/reach.ts";

/** The coordinator that `npm run dev` talks to. */
const coordinator = process.env.HUB_COORDINATOR ?? "http://127.0.0.1:3000";

export default defineConfig(({ command }) => ({
  // Where people sign in: this page, but for `npm run dev`, whose own address the coordinator does not know.
  define: { SIGN_IN_ORIGIN: command === "serve" ? JSON.stringify(coordinator) : "location.origin" },
  plugins: [
    tailwindcss(),
    sveltekit({
      adapter: adapter({ fallback: "index.html", precompress: true }),
      csp: {
        mode: "hash",
        directives: {
          "default-src": ["self"],
          "script-src": ["self"],
          "style-src": ["self"],
          // The one style attribute there is: SvelteKit's, on the element that announces pages to screen readers.
          "style-src-attr": ["unsafe-hashes", "sha256-S8qMpvofolR8Mpjy4kQvEm7m1q8clzU4dfDH0AmvZjo="],
          // Wallets bring their icons as data URIs (EIP-6963).
          "img-src": ["self", "data:"],
          "connect-src": ["self", ...REACH],
          "object-src": ["none"],
          "base-uri": ["self"],
          "form-action": ["self"],
        },
      },
    }),
  ],
  server: {
    port: 5173,
    proxy: Object.fromEntries(
      ["/api", "/docs", "/openapi.json"].map((path) => [
        path,
        { target: coordinator, changeOrigin: true, headers: { origin: coordinator } },
      ]),
    ),
  },
}));
