// What the scenarios of the console share: a real browser, the API by JSON, and the steps that a person takes.
//
// Environment: BROWSER (chromium, unless it is firefox), BASE (the HTTP door), TOKEN (the root token), NODE_MODULES (where playwright-core and axe-core are), and
// EXAMPLES (the folder of the products' policies).

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export { assert };
export const { BASE: base, TOKEN: rootToken } = process.env;
const require = createRequire(`${process.env.NODE_MODULES}/`);
const { chromium, firefox } = require("playwright-core");
export const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** Calls a method of the API. */
export async function call(method, message, token = rootToken, at = base) {
  const response = await fetch(`${at}/keyauthority.v1.KeyAuthority/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify(message),
  });
  const answer = await response.json();
  assert.ok(response.ok, `${method}: ${JSON.stringify(answer)}`);
  return answer;
}

export const verdict = async (token, more = {}) => (await call("Verify", { token, ...more })).verdict;
export const keysOf = async (account) => (await call("ListKeys", { account })).keys ?? [];

/** Creates an account with the policy of a product, or with another one, and with `more` fields of its own. */
export async function newAccount(product, policy = {}, more = {}) {
  const id = `${product}-${randomUUID().slice(0, 8)}`;
  const example = `${process.env.EXAMPLES}/${product}.json`;
  const request = product === "plain" ? { account: {} } : JSON.parse(readFileSync(example, "utf8"));
  const account = { ...request.account, id, policy: { ...request.account.policy, ...policy }, ...more };
  await call("CreateAccount", { ...request, account, requestId: "" });
  return id;
}

export const isFirefox = process.env.BROWSER === "firefox";
/** Whether pages have scripts, for tests of both ways. This Firefox cannot leave them out. */
export const WITH_SCRIPTS = isFirefox ? [true] : [true, false];
export const launch = () => (isFirefox ? launchFirefox() : launchChromium());

const launchChromium = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });

/** Starts Debian's Firefox, by WebDriver BiDi. */
function launchFirefox() {
  const { ws } = require(join(dirname(require.resolve("playwright-core/package.json")), "lib/utilsBundle.js"));
  const { send } = ws.prototype;
  // Playwright wants to set the colour scheme by a command that this Firefox does not have.
  ws.prototype.send = function (message, ...rest) {
    const { id, method } = JSON.parse(message);
    if (method !== "emulation.setMediaFeaturesOverride") return send.call(this, message, ...rest);
    setImmediate(() => this.emit("message", Buffer.from(JSON.stringify({ type: "success", id, result: {} })), false));
  };
  const executablePath = process.env.FIREFOX ?? "/usr/bin/firefox-esr";
  return firefox.launch({ channel: "moz-firefox", executablePath });
}

/** Opens a window of a browser that nobody has signed in with; `prepare` gets its page before anything is opened. */
export async function newWindow(browser, { js = true, at = base, prepare = async () => {}, ...more } = {}) {
  const context = await browser.newContext({ javaScriptEnabled: js, baseURL: at, ...more });
  if (js) await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.hasScripts = js || isFirefox;
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("status of")) page.problems.push(message.text());
  });
  await prepare(page);
  return page;
}

/** Signs in with a token, and lands on the first page. */
export async function signIn(page, token = rootToken, at = "/console/") {
  await page.goto(at);
  await page.getByRole("textbox", { name: "Token" }).fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

/** What a portal session may do. */
const MAY = ["CREATE", "UPDATE", "DISABLE", "RENEW", "REVOKE", "DELETE", "REVEAL"].map((name) => `PORTAL_ACTION_${name}`);
/** The user of a product whom portal sessions are for. */
export const user = "ada@example.org";

/** Creates the link to a portal session, as the backend of a product does. */
export const portalUrl = async (account, more = {}) =>
  (await call("CreatePortalSession", { account, subject: user, may: MAY, ...more })).url;

/** Continues where a link to a portal session leads: a script does it by itself. */
export async function continueToPortal(page) {
  if (!page.hasScripts) await page.getByRole("button", { name: "Continue" }).click();
}

/** Follows a link to a portal session, and consents if it replaces that of another account. */
export async function enterPortal(page, url) {
  await page.goto(url);
  await continueToPortal(page);
  const [signedIn, asked] = [page.getByRole("button", { name: "Sign out" }), page.getByText("You are signed in as")];
  await signedIn.or(asked).first().waitFor();
  if (await asked.isVisible()) await page.getByRole("button", { name: "Continue" }).click();
  await signedIn.waitFor();
}

/** Fails unless the page says that every replica enforces the change. */
export async function enforced(page) {
  await page.getByText(/Enforced by (\d+) of \1 replicas? after|It is in force everywhere\./).first().waitFor();
}

/** Creates a key on its form, and returns its token. */
export async function createKey(page, account, name, fill = async () => {}) {
  await page.goto(`/console/accounts/${account}`);
  await page.getByRole("button", { name: "Create key" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill(name);
  await fill(page);
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("heading", { name: "Key created" }).waitFor();
  await enforced(page);
  return page.getByRole("textbox", { name: "Token" }).inputValue();
}

/** Leaves a page that asks whether it may be left. */
export function letGo(page) {
  page.on("dialog", (dialog) => dialog.accept().catch(() => {}));
}

/** The row of a key in the list. */
export const row = (page, name) => page.getByRole("table", { name: "Keys" }).getByRole("row").filter({ hasText: name });
/** A part of the list. */
export const part = (page, title) => page.getByRole("rowgroup", { name: title });

/** Copies by a button, and returns what the clipboard has. */
export async function copied(page, button) {
  await button.click();
  await page.getByText("Copied").first().waitFor();
  return page.evaluate(() => navigator.clipboard.readText());
}
