// Every page of the console, in every state that a person can bring it into, with sample data. The checks of
// accessibility, of HTML and of weight run on these pages, and the screenshots in `docs/console.md` show them.

import {
  call, continueToPortal, createKey, enterPortal, letGo, newAccount, newWindow, portalUrl, rootToken, signIn, user,
  verdict,
} from "./browser.mjs";

const DAY = 86_400;
const SAMPLES = [
  ["deploy pipeline", "Rolls out each release.", ["deploy", "read"], 90 * DAY],
  ["laptop/claude-desktop", "", ["read"], 365 * DAY],
  ["nightly export", "Writes the tables of the day to the warehouse.", ["export", "read"], 30 * DAY],
  ["mobile app", "", ["read", "write"], 0],
  ["partner: Northwind", "Ends with the contract.", ["orders:read"], 180 * DAY],
  ["monitoring", "", ["status"], 0],
];

/** An account with keys as people have them: some used, one disabled, one renewed, one revoked. */
async function sampleAccount() {
  const account = await newAccount("console", {}, { displayName: "Acme" });
  const keys = {};
  for (const [displayName, description, scopes, seconds] of SAMPLES) {
    const expiry = seconds ? { lifetime: `${seconds}s` } : { neverExpires: true };
    keys[displayName] = await call("CreateKey", { account, displayName, description, scopes, ...expiry });
  }
  await call("DisableKey", { keyId: keys["mobile app"].key.id });
  await call("RevokeKey", { keyId: keys.monitoring.key.id, reason: "found in a public repository" });
  for (const name of ["deploy pipeline", "nightly export"]) await verdict(keys[name].token);
  await call("RenewKey", { keyId: keys["deploy pipeline"].key.id, overlap: "3600s" });
  return { account, keys };
}

/** Creates a caller, and returns its token. */
const caller = async (displayName, scopes, accounts) =>
  (await call("CreateKey", { account: "system", displayName, scopes, ...(accounts ? { projects: { only: accounts } } : {}) })).token;

const connectTo = async (page, client) => {
  await page.getByRole("combobox", { name: "Client" }).selectOption({ label: client });
  await page.getByRole("textbox", { name: "Name of the server" }).fill("acme");
  await page.getByRole("textbox", { name: "Address of the server" }).fill("https://mcp.example.com/mcp");
  await page.getByRole("button", { name: "Show the instructions" }).click();
};
const usedLately = async (id) => {
  for (let used; !used; ) used = (await call("GetKey", { keyId: id })).lastUsedTime;
};
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();

/** Opens every page. `seen` gets the name of each, and the window that shows it. */
export async function everyPage(browser, options, seen) {
  const page = await newWindow(browser, options);
  letGo(page);
  const open = async (name, path) => {
    await page.goto(path);
    await seen(name, page);
  };
  await signingIn(page, open, seen);
  const { account, keys } = await sampleAccount();
  const key = keys["deploy pipeline"].key;
  await lists(open, account);
  await creating(page, open, seen, account);
  await connecting(page, open, seen, account);
  await oneKey(page, open, seen, account, key, keys.monitoring.key);
  await others(browser, options, page, open, seen, account, key);
  await page.context().close();
  await portals(browser, options, seen, account, key);
}

/** The pages behind a link to a portal, in the browser of an operator. */
async function portals(browser, options, seen, account, key) {
  const page = await newWindow(browser, options);
  await page.goto("/console/sign-in");
  await signIn(page);
  const url = await portalUrl(account);
  await page.goto(url);
  if (!page.hasScripts) await seen("enter", page);
  await continueToPortal(page);
  await page.getByText("You are signed in as an operator").waitFor();
  await seen("enter-as-operator", page);
  await press(page, "Continue");
  await page.getByText(user).first().waitFor();
  await seen("portal-keys", page);
  await page.goto(`/console/keys/${key.id}`);
  await seen("portal-key", page);
  await page.goto("/console/replicas");
  await seen("portal-not-found", page);
  await press(page, "Sign out");
  await page.getByRole("heading", { name: "Signed out" }).waitFor();
  await seen("portal-left", page);
  await page.goto(url);
  await continueToPortal(page);
  await page.getByRole("heading", { name: "This link no longer works" }).waitFor();
  await seen("portal-over", page);
  await enterPortal(page, await portalUrl(account, { allowedScopes: { only: ["deploy", "read"] } }));
  await page.goto(`/console/keys/${key.id}`);
  await seen("portal-key-with-allowed-scopes", page);
  await page.goto(`/console/accounts/${account}/create`);
  await page.getByRole("checkbox", { name: "deploy" }).check();
  await seen("portal-create-with-allowed-scopes", page);
  await page.context().close();
}

async function signingIn(page, open, seen) {
  await open("sign-in", "/console/sign-in");
  await page.getByRole("textbox", { name: "Token" }).fill("nonsense");
  await press(page, "Sign in");
  await page.getByRole("alert").waitFor();
  await seen("sign-in-refused", page);
  await signIn(page);
  await seen("accounts-first-run", page);
  // A form that outlives its session.
  const account = await newAccount("plain");
  await page.goto(`/console/accounts/${account}/create`);
  await page.getByRole("textbox", { name: "Name" }).fill("kept");
  await page.context().clearCookies();
  await press(page, "Create");
  await page.getByText("what you typed is kept").waitFor();
  await seen("sign-in-again", page);
  await page.getByRole("textbox", { name: "Token" }).fill(rootToken);
  await press(page, "Sign in");
  await page.getByRole("heading", { name: "You are signed in again" }).waitFor();
  await seen("form-kept", page);
}

async function lists(open, account) {
  const full = await newAccount("mecha", { maxKeys: 2 });
  for (const displayName of ["one", "two"]) await call("CreateKey", { account: full, displayName });
  const suspended = await newAccount("plain");
  const { key: stopped } = await call("CreateKey", { account: suspended, displayName: "stopped" });
  await call("SuspendAccount", { account: suspended });
  await open("accounts", "/console/accounts");
  await open("accounts-no-match", "/console/accounts?q=no-such-account");
  await open("create-account", "/console/create-account");
  await open("find", "/console/keys");
  await open("find-no-match", "/console/keys?q=no-such-key");
  await open("keys", `/console/accounts/${account}`);
  await open("keys-no-match", `/console/accounts/${account}?q=no-such-key`);
  await open("keys-disabled", `/console/accounts/${account}?state=disabled`);
  await open("keys-empty", `/console/accounts/${await newAccount("mecha")}`);
  await open("keys-full", `/console/accounts/${full}`);
  await open("keys-suspended", `/console/accounts/${suspended}`);
  await open("key-suspended", `/console/keys/${stopped.id}`);
  await open("suspend", `/console/accounts/${account}/suspend`);
  await open("keys-system", "/console/accounts/system");
  await open("create-full", `/console/accounts/${full}/create`);
  await open("audit", "/console/audit");
  await open("audit-of-an-account", `/console/audit?account=${account}`);
  await open("audit-no-match", "/console/audit?actor=nobody");
  await open("replicas", "/console/replicas");
}

async function creating(page, open, seen, account) {
  await page.goto("/console/create-account");
  await page.getByRole("textbox", { name: "ID" }).fill("a shop");
  await page.getByRole("textbox", { name: "Tokens begin with" }).fill("Shop");
  await press(page, "Create account");
  await page.getByText("must be").first().waitFor();
  await seen("create-account-errors", page);
  await open("create", `/console/accounts/${account}/create`);
  await open("create-caller", "/console/accounts/system/create");
  const strict = await newAccount("mecha");
  await open("create-with-rules", `/console/accounts/${strict}/create`);
  await page.getByText("Scopes, projects, networks and labels").click();
  await page.getByRole("textbox", { name: "Networks" }).fill("nowhere");
  await page.getByRole("textbox", { name: "Labels" }).fill("label");
  await press(page, "Create");
  await page.getByRole("alert").waitFor();
  await seen("create-errors", page);
  await createKey(page, account, "invoice robot");
  await seen("created", page);
  await connectTo(page, "Claude Code");
  await page.getByText("The command below contains the new token.").waitFor();
  await seen("created-and-connected", page);
  const projects = await newAccount("gaio");
  let sent;
  await createKey(page, projects, "for later", async () => {
    await page.getByRole("checkbox", { name: "Active" }).uncheck();
    sent = await page.locator("input[name=request_id]").inputValue();
  });
  await seen("created-inactive", page);
  // The same form once more: its token is not shown again.
  await page.goto(`/console/accounts/${projects}/create`);
  await page.getByRole("textbox", { name: "Name" }).fill("for later");
  await page.getByRole("checkbox", { name: "Active" }).uncheck();
  await page.locator("input[name=request_id]").evaluate((field, value) => { field.value = value; }, sent);
  await press(page, "Create");
  await page.getByText("This form was sent before").waitFor();
  await seen("created-repeated", page);
}

async function connecting(page, open, seen, account) {
  await open("connect", `/console/accounts/${account}/connect`);
  for (const client of ["Claude Code", "Codex", "VS Code", "Cursor", "Claude Desktop", "ChatGPT"]) {
    await connectTo(page, client);
    await page.getByRole("heading", { level: 2, name: client }).waitFor();
    await seen(`connect-${client.toLowerCase().replace(" ", "-")}`, page);
  }
  await page.getByRole("textbox", { name: "Name of the server" }).fill("a b");
  await page.getByRole("textbox", { name: "Address of the server" }).fill("ftp://example.com");
  await press(page, "Show the instructions");
  await page.getByRole("alert").waitFor();
  await seen("connect-errors", page);
  const empty = await newAccount("meko");
  await open("connect-without-a-key", `/console/accounts/${empty}/connect`);
  await page.getByRole("textbox", { name: "Name of the server" }).fill("acme");
  await page.getByRole("textbox", { name: "Address of the server" }).fill("https://mcp.example.com/mcp");
  await press(page, "Create a key and show the instructions");
  await page.getByText("The command below contains its token.").waitFor();
  await seen("connect-with-a-new-key", page);
  await open("connect-with-a-saved-token", `/console/accounts/${empty}/connect`);
  await connectTo(page, "Claude Code");
  await page.getByText("Replace YOUR_API_KEY").waitFor();
  await seen("connect-with-a-placeholder", page);
}

async function oneKey(page, open, seen, account, key, ended) {
  const path = `/console/keys/${key.id}`;
  await open("key", path);
  await open("key-revoked", `/console/keys/${ended.id}`);
  // Somebody else saves first.
  await page.goto(path);
  await call("UpdateKey", { key: { id: key.id, description: "Rolls out each release, from the main branch." }, updateMask: "description" });
  await page.getByRole("textbox", { name: "Description" }).fill("Rolls out releases.");
  await press(page, "Save");
  await page.getByRole("heading", { name: "Somebody changed this key" }).waitFor();
  await seen("key-conflict", page);
  await page.goto(path);
  await page.getByRole("textbox", { name: "Labels" }).fill("label");
  await page.getByRole("textbox", { name: "Networks" }).fill("nowhere");
  await press(page, "Save");
  await page.getByRole("alert").waitFor();
  await seen("key-errors", page);
  await page.goto(path);
  await press(page, "Revoke");
  await page.getByText("Type the name of the key exactly").waitFor();
  await seen("revoke-unconfirmed", page);
  await open("renew", `${path}/renew`);
  await press(page, "Renew");
  await page.getByRole("heading", { name: "Key renewed" }).waitFor();
  await seen("renewed", page);
  await page.goto(path);
  await press(page, "Disable");
  await page.getByText("is disabled. Enforced by").waitFor();
  await seen("key-disabled", page);
  await press(page, "Show the token");
  await page.getByText("records that you saw it").waitFor();
  await seen("revealed", page);
  const { key: quiet } = await call("CreateKey", { account, displayName: "never used" });
  await open("delete", `/console/keys/${quiet.id}/delete`);
  await usedLately(key.id);
  await open("delete-in-use", `${path}/delete`);
  await press(page, "Delete");
  await page.getByText("used recently").first().waitFor();
  await seen("delete-refused", page);
}

async function others(browser, options, page, open, seen, account, key) {
  await open("not-found", "/console/keys/no-such-key");
  await open("no-such-page", "/console/no-such-page");
  await page.goto(`/console/keys/${key.id}`);
  await page.locator("input[name=form_token]").evaluateAll((fields) => fields.forEach((field) => { field.value = "stolen"; }));
  await press(page, "Enable");
  await page.getByText("does not belong to your session").waitFor();
  await seen("form-of-another-session", page);
  const reader = await newWindow(browser, options);
  await signIn(reader, await caller("support desk", ["accounts.read", "keys.read"], [account]));
  await reader.goto(`/console/keys/${key.id}`);
  await seen("key-to-read", reader);
  await reader.goto(`/console/accounts/${account}`);
  await seen("keys-to-read", reader);
  await reader.goto("/console/audit");
  await seen("not-permitted", reader);
  await reader.context().close();
  const manager = await newWindow(browser, options);
  const scopes = ["accounts.read", "keys.read", "keys.write"];
  const own = await call("CreateKey", { account: "system", displayName: "key manager", scopes });
  await signIn(manager, own.token);
  await manager.goto(`/console/keys/${own.key.id}`);
  await seen("key-own", manager);
  await press(manager, "Disable");
  await manager.getByRole("heading", { name: "Disable “key manager”?" }).waitFor();
  await seen("disable-own", manager);
  await manager.goto(`/console/keys/${own.key.id}`);
  await manager.getByRole("checkbox", { name: "accounts.read" }).uncheck();
  await press(manager, "Save");
  await manager.getByRole("heading", { name: "Take rights from “key manager”?" }).waitFor();
  await seen("edit-own", manager);
  await manager.context().close();
  const nobody = await newWindow(browser, options);
  await signIn(nobody, await caller("new product", ["accounts.read", "keys.read"], ["not-yet"]));
  await seen("accounts-empty", nobody);
  await nobody.context().close();
}
