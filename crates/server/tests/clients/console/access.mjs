// Whether everybody can use the console: accessibility, the keyboard, valid HTML, and the weight of its pages.

import { mkdirSync, writeFileSync } from "node:fs";

import {
  assert, axeSource, base, call, enforced, isFirefox, newAccount, newWindow, rootToken, signIn, verdict,
} from "./browser.mjs";
import { everyPage } from "./pages.mjs";

const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
/** The most that a page may weigh with all that it loads, in bytes as transferred. */
const WEIGHT_MAX = 60_000;

/** The widths of a wide window and of a small one, in pixels. */
const WIDTHS = [1280, 360];
const HEIGHT = 800;

/** Checks a page: no violation of WCAG 2.2 AA, and nothing to scroll sideways. */
async function violations(page, runOnly = { type: "tag", values: RULES }) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axeSource);
  const { found, wide } = await page.evaluate(async (runOnly) => {
    // Some colours change slowly.
    for (const animation of document.getAnimations()) animation.finish();
    const root = document.documentElement;
    // Selectors of elements and details of what is right take most of the time, and nobody reads them.
    const { violations: found } = await axe.run({ runOnly, resultTypes: ["violations"], selectors: false });
    return {
      found: found.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).slice(0, 2).join(" ")}`),
      wide: root.scrollWidth - root.clientWidth,
    };
  }, runOnly);
  return wide > 0 ? [...found, `${wide} px too wide`] : found;
}

/** Checks a page in each width and colour scheme, and returns what is wrong. */
async function violationsInEachView(page) {
  const problems = [];
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: HEIGHT });
    for (const problem of await violations(page)) problems.push(`${width} px: ${problem}`);
    // Only colours depend on the scheme.
    await page.emulateMedia({ colorScheme: "dark" });
    for (const problem of await violations(page, ["color-contrast"])) problems.push(`${width} px, dark: ${problem}`);
    await page.emulateMedia({ colorScheme: "light" });
  }
  await page.setViewportSize({ width: WIDTHS[0], height: HEIGHT });
  return problems;
}

/** Counts the bytes that each page loads, as transferred; Chromium alone has the commands. */
async function countBytes(page) {
  const client = await page.context().newCDPSession(page);
  await client.send("Network.enable");
  await client.send("Network.setCacheDisabled", { cacheDisabled: true });
  // What the current document still loads. Of what a document has not loaded when the next one begins, no event tells the
  // end.
  page.loading = new Set();
  let document;
  client.on("Network.requestWillBeSent", ({ type, requestId, loaderId }) => {
    if (type === "Document") {
      [document, page.bytes] = [loaderId, 0];
      page.loading.clear();
    }
    if (loaderId === document) page.loading.add(requestId);
  });
  const end = ({ requestId, encodedDataLength = 0 }) => {
    if (page.loading.delete(requestId)) page.bytes += encodedDataLength;
    if (page.loading.size === 0) page.loaded?.();
  };
  client.on("Network.loadingFinished", end);
  client.on("Network.loadingFailed", end);
}

/** Returns the weight of a page, with the icon, which a window without a screen does not load. */
async function weigh(page) {
  await page.waitForLoadState();
  while (page.loading.size > 0) await new Promise((resolve) => { page.loaded = resolve; });
  page.icon ??= await page.locator("link[rel=icon]").getAttribute("href");
  return page.bytes + (await (await page.request.get(page.icon)).body()).length;
}

/**
 * One walk over the pages for all checks, because opening the pages takes most of the time. The weight comes first: it is
 * that of the page as a visit loads it.
 */
export async function every_page_is_accessible_and_light(browser) {
  const problems = [];
  let most = [0, "no page"];
  const weighed = async (name, page) => {
    if (isFirefox) return;
    const bytes = await weigh(page);
    if (bytes > most[0]) most = [bytes, name];
    // Less than the stylesheet and the script: nothing was counted.
    if (bytes < 5_000 || bytes > WEIGHT_MAX) problems.push(`${name}: ${bytes} bytes`);
  };
  const prepare = isFirefox ? undefined : countBytes;
  const options = { viewport: { width: WIDTHS[0], height: HEIGHT }, bypassCSP: true, prepare };
  await everyPage(browser, options, async (name, page) => {
    await weighed(name, page);
    for (const problem of await violationsInEachView(page)) problems.push(`${name}, ${problem}`);
  });
  // As many keys as a page shows.
  const account = await newAccount("console");
  for (let number = 1; number <= 150; number += 1) {
    const { key } = await call("CreateKey", { account, displayName: `key ${number}`, description: "For a service.", scopes: ["read"], disabled: number > 50 });
    if (number > 100) await call("RevokeKey", { keyId: key.id });
  }
  const page = await newWindow(browser, { prepare });
  await signIn(page);
  await page.goto(`/console/accounts/${account}`);
  await weighed("keys-many", page);
  console.log(`the heaviest is ${most[1]}: ${most[0]} bytes`);
  assert.deepEqual(problems, []);
}

/** Makes a window that of the person whose cookies are in SESSION. */
async function enterSession(page) {
  const cookies = Object.entries(JSON.parse(process.env.SESSION));
  await page.context().addCookies(cookies.map(([name, value]) => ({ name, value, url: `${base}/console` })));
}

/**
 * The pages of an authority that cannot decide. SESSION has the cookies of somebody who had signed in before. With
 * ACCOUNT, pages can be read, and a change fails.
 */
export async function pages_of_an_outage_are_accessible(browser) {
  for (const [colorScheme, width] of [["light", 1280], ["dark", 360]]) {
    const page = await newWindow(browser, { colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
    await enterSession(page);
    if (process.env.ACCOUNT) {
      await page.goto(`/console/accounts/${process.env.ACCOUNT}/create`);
      await page.getByRole("textbox", { name: "Name" }).fill("too early");
      await page.getByRole("button", { name: "Create", exact: true }).click();
      await page.getByRole("button", { name: "Try again" }).waitFor();
    } else {
      // The page loads itself again, which would interrupt the check.
      await page.route("**/console/accounts", async (route) => {
        const response = await route.fetch();
        const { refresh, ...headers } = response.headers();
        assert.equal(refresh, "2");
        await route.fulfill({ response, headers });
      });
      await page.goto("/console/accounts");
      await page.getByText("This page tries again every two seconds.").waitFor();
    }
    await page.getByRole("heading", { level: 1, name: "This replica cannot tell right now" }).waitFor();
    assert.deepEqual(await violations(page), []);
  }
}

/**
 * The pages of a change that is committed, and not confirmed by every replica. SESSION has the cookies of somebody who has
 * signed in, and KEY the ID of a key.
 */
export async function pages_of_an_unfinished_change_are_accessible(browser) {
  const page = await newWindow(browser, { bypassCSP: true });
  await enterSession(page);
  await page.goto(`/console/keys/${process.env.KEY}`);
  await page.getByRole("button", { name: "Disable" }).click();
  await page.getByText("have not confirmed it yet").waitFor();
  const wait = page.getByRole("button", { name: "Keep waiting" });
  assert.deepEqual(await violationsInEachView(page), []);
  assert.ok((await page.getByRole("status").allTextContents()).some((text) => text.includes("no replica answers without it")));
  // The other replica is still silent.
  await Promise.all([page.waitForEvent("load"), wait.click()]);
  await page.getByText("have not confirmed it yet").waitFor();
  await wait.waitFor();
  assert.deepEqual(await violationsInEachView(page), []);
  // A renewal whose token is lost.
  await page.goto(`/console/keys/${process.env.KEY}/renew`);
  await page.getByRole("button", { name: "Renew" }).click();
  await page.getByRole("heading", { level: 1, name: "Key renewed, but not confirmed" }).waitFor();
  await page.getByRole("link", { name: "Renew the key again" }).waitFor();
  assert.deepEqual(await violationsInEachView(page), []);
}

/** Writes the HTML of every page, as the server sent it, to the folder PAGES for the HTML checker. */
export async function every_page_is_written(browser) {
  const folder = process.env.PAGES;
  mkdirSync(folder, { recursive: true });
  const prepare = (page) => page.on("response", (response) => {
    const isPage = response.request().isNavigationRequest() && response.headers()["content-type"]?.startsWith("text/html");
    if (isPage) page.response = response;
  });
  // The browser has the body of the page that it shows, and not that of a page that it has left.
  await everyPage(browser, { js: false, prepare }, async (name, page) => {
    writeFileSync(`${folder}/${name}.html`, await page.response.text());
  });
  const page = await newWindow(browser);
  const again = await page.request.get("/console/audit", { headers: { "sec-fetch-site": "cross-site" } });
  writeFileSync(`${folder}/opened-from-elsewhere.html`, await again.text());
}

/** What has the focus: its name, and whether a person sees that it has it. */
const focused = (page) => page.evaluate(() => {
  const now = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(now);
  const { top, left, bottom, right } = now.getBoundingClientRect();
  return {
    name: (now.getAttribute("aria-label") ?? now.labels?.[0]?.textContent ?? now.textContent).trim(),
    is: now.matches("a") ? "a" : now.localName,
    isOutlined: outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2,
    isInView: bottom > 0 && right > 0 && top < innerHeight && left < innerWidth && bottom > top,
  };
});

/** Presses Tab until something has the focus. Everything on the way is visible, and in the order of the page. */
async function tabTo(page, name, is) {
  for (let steps = 0; steps < 80; steps += 1) {
    const before = await page.evaluateHandle(() => document.activeElement);
    await page.keyboard.press("Tab");
    const now = await focused(page);
    assert.ok(now.isOutlined && now.isInView, `the focus cannot be seen on ${JSON.stringify(now)} at ${page.url()}`);
    const isAfter = await page.evaluate((before) => {
      const place = before.compareDocumentPosition(document.activeElement);
      return before === document.body || (place & Node.DOCUMENT_POSITION_FOLLOWING) !== 0;
    }, before);
    assert.ok(isAfter, `the focus goes back to ${now.name} at ${page.url()}`);
    if (now.name.startsWith(name) && (!is || now.is === is)) return;
  }
  throw new Error(`the keyboard does not reach ${name} at ${page.url()}`);
}

/** Create, copy and revoke with the keyboard alone. */
export async function the_keyboard_is_enough(browser) {
  const account = await newAccount("mecha", { maxKeys: 10 });
  const page = await newWindow(browser);
  const { keyboard } = page;
  const type = async (text) => {
    await keyboard.press("ControlOrMeta+a");
    await keyboard.type(text);
  };
  await page.goto(`/console/accounts/${account}`);
  await keyboard.type(rootToken);
  await keyboard.press("Enter");
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  // The first stop leads past the navigation.
  await tabTo(page, "Skip to the content", "a");
  await keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await keyboard.press("Tab");
  assert.equal((await focused(page)).name, "Accounts");
  assert.ok(await page.evaluate(() => document.activeElement.closest("main") !== null));
  await tabTo(page, "Create key");
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "Create key" }).waitFor();
  // A form with errors has the focus on the first of them.
  await tabTo(page, "Name", "input");
  await type("by keyboard");
  await tabTo(page, "Scopes, projects", "summary");
  await keyboard.press("Enter");
  await tabTo(page, "Networks", "textarea");
  await type("nowhere");
  await tabTo(page, "Labels", "textarea");
  await type("label");
  await tabTo(page, "Create", "button");
  await keyboard.press("Enter");
  await page.getByText("Some fields need a change.").waitFor();
  const first = await focused(page);
  assert.deepEqual([first.name, first.isOutlined, first.isInView], ["Networks", true, true]);
  await type("192.0.2.0/24");
  await tabTo(page, "Labels", "textarea");
  await type("team=blue");
  await tabTo(page, "Create", "button");
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "Key created" }).waitFor();
  await tabTo(page, "Copy", "button");
  await keyboard.press("Enter");
  await page.getByText("Copied").first().waitFor();
  const token = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(await verdict(token, { clientIp: "192.0.2.1" }), "VERDICT_VALID");
  // Instructions get the focus when they are there.
  await tabTo(page, "Name of the server", "input");
  await type("acme");
  await tabTo(page, "Address of the server", "input");
  await type("https://mcp.example.com/mcp");
  await keyboard.press("Enter");
  await page.getByText("The command below contains the new token.").waitFor();
  await page.waitForFunction(() => document.activeElement.id === "instructions");
  await tabTo(page, "The page of this key", "a");
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "by keyboard", level: 1 }).waitFor();
  await tabTo(page, "Revoke", "button");
  await keyboard.press("Enter");
  await page.getByText("Type the name of the key exactly").waitFor();
  const confirm = await focused(page);
  assert.ok(confirm.name.startsWith("Type the name of the key") && confirm.isInView, JSON.stringify(confirm));
  await type("by keyboard");
  await tabTo(page, "Revoke", "button");
  await keyboard.press("Enter");
  await enforced(page);
  assert.equal(await verdict(token), "VERDICT_REVOKED");
}
