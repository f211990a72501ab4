import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Browser, chromium, type LaunchOptions } from "playwright-core";

const { env, platform } = process;

/** Usual paths of an installed Chromium or Chrome. */
const INSTALLED: readonly string[] =
  platform === "darwin"
    ? [
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
        "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
      ]
    : platform === "win32"
      ? [env.PROGRAMFILES, env["PROGRAMFILES(X86)"], env.LOCALAPPDATA]
          .filter((folder) => folder !== undefined)
          .flatMap((folder) => [
            join(folder, "Google/Chrome/Application/chrome.exe"),
            join(folder, "Chromium/Application/chrome.exe"),
            join(folder, "Microsoft/Edge/Application/msedge.exe"),
          ])
      : ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"].flatMap((name) => [
          join("/usr/bin", name),
          join("/usr/local/bin", name),
          join("/snap/bin", name),
        ]);

/**
 * The browser that the tests drive: `CHROMIUM_PATH`, an installed Chromium or Chrome, or the one that `npm test` had
 * Playwright install; undefined when there is none.
 */
export function findBrowser(): string | undefined {
  if (env.CHROMIUM_PATH) return env.CHROMIUM_PATH;
  return [...INSTALLED, chromium.executablePath()].find((path) => existsSync(path));
}

/**
 * Starts a headless Chromium. Throws, saying what to do, when there is none: a test that needs a browser fails without
 * one, it is never skipped.
 */
export async function launchBrowser(options: LaunchOptions = {}): Promise<Browser> {
  const executablePath = findBrowser();
  if (executablePath === undefined || !existsSync(executablePath)) {
    throw new Error(
      executablePath === undefined
        ? "no Chromium or Chrome found: run `npm run setup -- browser`, or set CHROMIUM_PATH to one"
        : `CHROMIUM_PATH is ${executablePath}, and there is no such file`,
    );
  }
  // No sandbox: containers and root, where tests usually run, cannot have one, and tests open only our own pages.
  const args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"];
  return chromium.launch({ executablePath, ...options, args: [...args, ...(options.args ?? [])] });
}
