// The pictures in `docs/console.md`: each page in light and dark, wide and small, as one picture. `scripts/screenshots`
// takes them.

import { mkdirSync, writeFileSync } from "node:fs";

import { everyPage } from "./pages.mjs";

/** The pages that have a picture. */
const SHOWN = [
  "sign-in", "accounts", "create-account", "find", "keys", "create", "created", "connect-claude-code", "key", "renew",
  "delete-in-use", "audit", "replicas",
];
const SIZES = { wide: { width: 1100, height: 720 }, small: { width: 360, height: 720 } };
/** How much smaller a picture shows its pages. */
const SCALE = 0.68;

/** Writes the pictures to the folder OUT. */
export async function screenshots_are_taken(browser) {
  const shots = {};
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, viewport] of Object.entries(SIZES)) {
      await everyPage(browser, { colorScheme, viewport }, async (name, page) => {
        if (!SHOWN.includes(name)) return;
        await page.evaluate(() => document.activeElement.blur());
        shots[name] = { ...shots[name], [`${colorScheme}-${size}`]: await page.screenshot() };
      });
    }
  }
  mkdirSync(process.env.OUT, { recursive: true });
  const page = await browser.newPage({ viewport: { width: 1020, height: 100 } });
  const picture = (shot, { width, height }) =>
    `<img width="${width * SCALE}" height="${height * SCALE}" src="data:image/png;base64,${shot.toString("base64")}">`;
  for (const name of SHOWN) {
    const row = (scheme) => Object.entries(SIZES).map(([size, viewport]) => picture(shots[name][`${scheme}-${size}`], viewport)).join("");
    await page.setContent(`<style>
      body { margin: 0; background: #8b93a0; display: grid; gap: 8px; padding: 8px; }
      div { display: flex; gap: 8px; } img { display: block; }
    </style><div>${row("light")}</div><div>${row("dark")}</div>`);
    writeFileSync(`${process.env.OUT}/${name}.png`, await page.screenshot({ fullPage: true }));
  }
}
