// The pictures in `docs/console.md`: each page in light and dark, wide and small, as one picture. `scripts/screenshots`
// takes them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";

import { newAccount, newWindow, signIn } from "./browser.mjs";
import { everyPage } from "./pages.mjs";

/** The pages that have a picture. */
const SHOWN = [
  "sign-in", "accounts", "create-account", "find", "keys", "suspend", "key-suspended", "create", "created",
  "connect-claude-code", "key", "renew", "delete-in-use", "audit", "replicas", "key-conflict", "not-found",
  "not-permitted", "outage",
];
/** Those of them that have little on them: the upper part is enough. */
const SHORT = ["suspend", "not-found", "not-permitted", "outage"];
const SHORT_HEIGHT = 360;
const HEIGHT = 720;
const SIZES = { wide: { width: 1100, height: HEIGHT }, small: { width: 360, height: HEIGHT } };
const heightOf = (name) => (SHORT.includes(name) ? SHORT_HEIGHT : HEIGHT);
/** How much smaller a picture shows its pages. */
const SCALE = 0.68;

/** Takes the lock of the SQLite file DATABASE that each change takes. Returns what releases it. */
async function holdChanges() {
  const script = `import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()`;
  const holder = spawn("python3", ["-c", script, process.env.DATABASE], { stdio: ["pipe", "pipe", "inherit"] });
  await once(holder.stdout, "data");
  return async () => {
    holder.stdin.end();
    await once(holder, "exit");
  };
}

/** Opens the page of a change that cannot be made. */
async function outage(browser, options, seen) {
  const page = await newWindow(browser, options);
  await signIn(page);
  await page.goto(`/console/accounts/${await newAccount("plain")}/create`);
  await page.getByRole("textbox", { name: "Name" }).fill("too early");
  const release = await holdChanges();
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("button", { name: "Try again" }).waitFor();
  await seen("outage", page);
  await release();
  await page.context().close();
}

/** Writes the pictures to the folder OUT. */
export async function screenshots_are_taken(browser) {
  const shots = {};
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, viewport] of Object.entries(SIZES)) {
      const seen = async (name, page) => {
        if (!SHOWN.includes(name)) return;
        await page.evaluate(() => document.activeElement.blur());
        const clip = { x: 0, y: 0, width: viewport.width, height: heightOf(name) };
        shots[name] = { ...shots[name], [`${colorScheme}-${size}`]: await page.screenshot({ clip }) };
      };
      await everyPage(browser, { colorScheme, viewport }, seen);
      await outage(browser, { colorScheme, viewport }, seen);
    }
  }
  mkdirSync(process.env.OUT, { recursive: true });
  const page = await browser.newPage({ viewport: { width: 1020, height: 100 } });
  const picture = (shot, { width }, height) =>
    `<img width="${width * SCALE}" height="${height * SCALE}" src="data:image/png;base64,${shot.toString("base64")}">`;
  for (const name of SHOWN) {
    const row = (scheme) => Object.entries(SIZES).map(([size, viewport]) => picture(shots[name][`${scheme}-${size}`], viewport, heightOf(name))).join("");
    await page.setContent(`<style>
      body { margin: 0; background: #8b93a0; display: grid; gap: 8px; padding: 8px; }
      div { display: flex; gap: 8px; } img { display: block; }
    </style><div>${row("light")}</div><div>${row("dark")}</div>`);
    writeFileSync(`${process.env.OUT}/${name}.png`, await page.screenshot({ fullPage: true }));
  }
}
