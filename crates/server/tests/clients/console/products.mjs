// The portals of four products, line by line (`docs/products.md`): each function is one line. `visit` opens the account
// as an operator or in a portal session; `js` says whether scripts run, and `who` is how the audit log names the visitor.

import { assert, call, copied, createKey, enforced, keysOf, letGo, newAccount, part, row, verdict } from "./browser.mjs";

const list = (account) => `/console/accounts/${account}`;
const openKey = async (page, account, name) => {
  await page.goto(list(account));
  await page.getByRole("link", { name, exact: true }).first().click();
  await page.getByRole("heading", { level: 1, name }).waitFor();
};
const connectForm = async (page, client) => {
  await page.getByRole("combobox", { name: "Client" }).selectOption({ label: client });
  await page.getByRole("textbox", { name: "Name of the server" }).fill("acme");
  await page.getByRole("textbox", { name: "Address of the server" }).fill("https://mcp.example.com/mcp");
};

export async function meko_portal_1_the_list_shows_each_key_by_name_and_prefix_with_its_status({ page, visit }) {
  const account = await visit("meko");
  const { key } = await call("CreateKey", { account, displayName: "laptop/claude-desktop" });
  await page.goto(list(account));
  const found = row(page, "laptop/claude-desktop");
  await found.getByText(`${key.tokenHint}…`).waitFor();
  await found.getByText("Active", { exact: true }).waitFor();
}

export async function meko_portal_2_create_key_asks_for_a_name_only({ page, visit }) {
  const account = await visit("meko");
  const token = await createKey(page, account, "laptop/claude-desktop");
  assert.match(token, /^mko_tkn_/);
  assert.equal((await keysOf(account))[0].displayName, "laptop/claude-desktop");
}

export async function meko_portal_3_the_token_is_shown_once_to_copy_or_download({ page, visit, js }) {
  const account = await visit("meko");
  const token = await createKey(page, account, "once");
  const downloading = page.waitForEvent("download");
  if (js) {
    // Leaving asks first, as long as nobody has copied or saved the token.
    await page.getByRole("heading", { name: "Key created" }).click();
    const asking = page.waitForEvent("dialog");
    const leaving = page.getByRole("link", { name: "All keys of the account" }).click().catch(() => {});
    const dialog = await asking;
    assert.equal(dialog.type(), "beforeunload");
    await dialog.dismiss();
    await leaving;
    const copy = page.getByRole("button", { name: "Copy", exact: true });
    assert.equal(await copied(page, copy), token);
  }
  await page.getByRole("link", { name: "Download .txt" }).click();
  const download = await downloading;
  assert.equal(download.suggestedFilename(), "once.txt");
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  assert.equal(Buffer.concat(chunks).toString(), `${token}\n`);
  await page.getByRole("link", { name: "All keys of the account" }).click();
  await row(page, "once").waitFor();
  // The browser has not kept the page, and asks before it would send the form again.
  await page.goBack().catch((error) => assert.match(error.message, /ERR_CACHE_MISS|NS_ERROR_DOCUMENT_NOT_CACHED/));
  const shown = await page.content().catch((error) => assert.match(error.message, /navigating/) ?? "");
  assert.ok(!shown.includes(token), "going back shows no token");
}

export async function meko_portal_4_expiry_is_told_and_not_asked({ page, visit }) {
  const account = await visit("meko");
  await page.goto(`${list(account)}/create`);
  await page.getByText("A key of this account expires 365 days after it was created.").waitFor();
  assert.equal(await page.getByRole("combobox", { name: "Expires" }).count(), 0);
}

export async function meko_portal_5_the_eleventh_active_key_is_refused_with_what_to_do({ page, visit }) {
  const account = await visit("meko");
  for (let number = 1; number <= 10; number += 1) await call("CreateKey", { account, displayName: `key ${number}` });
  await page.goto(`${list(account)}/create`);
  await page.getByText("10 of 10 active keys").first().waitFor();
  await page.getByRole("textbox", { name: "Name" }).fill("eleventh");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  const alert = page.getByRole("alert");
  await alert.getByText("Revoke, disable or delete a key that nobody needs").waitFor();
  assert.equal(await page.getByRole("textbox", { name: "Name" }).inputValue(), "eleventh");
  assert.equal((await keysOf(account)).length, 10);
}

export async function meko_portal_6_revoke_asks_and_the_key_stays_listed({ page, visit }) {
  const account = await visit("meko");
  const { key, token } = await call("CreateKey", { account, displayName: "leaked" });
  await openKey(page, account, "leaked");
  await page.getByRole("button", { name: "Revoke" }).click();
  await page.getByText("Type the name of the key exactly as it stands above.").waitFor();
  assert.equal(await verdict(token), "VERDICT_VALID");
  await page.getByRole("textbox", { name: "Type the name of the key" }).fill("leaked");
  await page.getByRole("button", { name: "Revoke" }).click();
  await enforced(page);
  assert.equal(await verdict(token), "VERDICT_REVOKED");
  await page.goto(list(account));
  await part(page, "Ended").getByText("Revoked").waitFor();
  assert.equal((await call("GetKey", { keyId: key.id })).state, "KEY_STATE_REVOKED");
}

export async function meko_portal_7_connect_leads_to_a_key_or_lists_those_there_are({ page, visit }) {
  const account = await visit("meko");
  await page.goto(list(account));
  await page.getByRole("link", { name: "Connect to an AI agent" }).click();
  await page.getByText("The account has no active key.").waitFor();
  await page.getByRole("link", { name: "create a key" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("my laptop");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  const region = page.getByRole("region", { name: "Connect to an AI agent" });
  await region.waitFor();
  const token = await page.getByRole("textbox", { name: "Token" }).inputValue();
  await connectForm(page, "Claude Code");
  await page.getByRole("button", { name: "Show the instructions" }).click();
  const command = page.getByRole("textbox", { name: "Terminal" });
  await command.waitFor();
  assert.ok((await command.inputValue()).includes(`Bearer ${token}`));
  letGo(page);
  await page.goto(`${list(account)}/connect`);
  const hint = (await keysOf(account))[0].tokenHint;
  const choice = await page.getByRole("combobox", { name: "Key", exact: true }).textContent();
  assert.ok(choice.includes(`my laptop (${hint}…)`), choice);
  await connectForm(page, "Claude Code");
  await page.getByRole("button", { name: "Show the instructions" }).click();
  await page.getByText(`it begins with ${hint}`).waitFor();
}

export async function mecha_portal_1_a_name_an_expiry_from_the_menu_and_a_description({ page, visit }) {
  const account = await visit("mecha");
  await page.goto(`${list(account)}/create`);
  const menu = await page.getByRole("combobox", { name: "Expires" }).getByRole("option").allTextContents();
  const days = [7, 30, 90, 180, 365].map((number) => `After ${number} days`);
  assert.deepEqual(menu.map((entry) => entry.replace(" (the default)", "")).filter((entry) => entry !== "Choose…"), [...days, "Never"]);
  await createKey(page, account, "cli", async () => {
    await page.getByRole("combobox", { name: "Expires" }).selectOption({ label: menu.find((entry) => entry.includes(" 30 ")) });
    await page.getByRole("textbox", { name: "Description" }).fill("for the REST API");
  });
  const [key] = await keysOf(account);
  assert.equal(key.description, "for the REST API");
  assert.equal(Date.parse(key.expireTime) - Date.parse(key.createTime), 30 * 86_400_000);
}

export async function mecha_portal_2_a_name_that_begins_with_a_digit_is_refused_beside_the_field({ page, visit, js }) {
  const account = await visit("mecha");
  await page.goto(`${list(account)}/create`);
  const name = page.getByRole("textbox", { name: "Name" });
  await name.fill("1st");
  if (js) {
    await page.getByText("The name must begin with a letter.").last().waitFor();
    assert.equal(await name.getAttribute("aria-invalid"), "true");
    // A browser that does not check sends it.
    await page.evaluate(() => { document.querySelector("form[data-once]").noValidate = true; });
  }
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByText("Some fields need a change.").waitFor();
  assert.equal(await name.inputValue(), "1st");
  assert.equal(await name.getAttribute("aria-invalid"), "true");
  await page.locator("#name-error").getByText("The name must begin with a letter.").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "name");
  assert.equal((await keysOf(account)).length, 0);
}

export async function mecha_portal_3_the_result_shows_key_id_and_secret_each_to_copy({ page, visit, js }) {
  const account = await visit("mecha");
  const token = await createKey(page, account, "pair");
  await page.getByText("it is not shown again").waitFor();
  const [key] = await keysOf(account);
  assert.equal(await page.getByRole("textbox", { name: "Key ID" }).inputValue(), key.id);
  if (js) {
    assert.equal(await copied(page, page.getByRole("button", { name: "Copy the key ID" })), key.id);
    await page.getByRole("button", { name: "Copy", exact: true }).waitFor();
    assert.equal(await copied(page, page.getByRole("button", { name: "Copy", exact: true })), token);
  }
  assert.equal(await verdict(token, { keyId: key.id }), "VERDICT_VALID");
}

export async function mecha_portal_4_the_new_key_is_in_the_list_at_once({ page, visit }) {
  const account = await visit("mecha");
  letGo(page);
  await createKey(page, account, "fresh");
  await page.getByRole("link", { name: "All keys of the account" }).click();
  await part(page, "Enabled").getByRole("link", { name: "fresh", exact: true }).waitFor();
}

export async function mecha_portal_5_ten_places_used_and_deleting_makes_room({ page, visit }) {
  const account = await visit("mecha");
  letGo(page);
  for (let number = 1; number <= 10; number += 1) {
    const { key } = await call("CreateKey", { account, displayName: `key ${number}` });
    if (number === 1) await call("RevokeKey", { keyId: key.id });
  }
  await page.goto(`${list(account)}/create`);
  await page.getByText("10 of 10 keys. Keys in every state count; delete one to make room.").waitFor();
  await page.getByRole("textbox", { name: "Name" }).fill("eleventh");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByText("Keys in every state count. Delete one that nobody needs").waitFor();
  await openKey(page, account, "key 1");
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Delete" }).click();
  await enforced(page);
  await createKey(page, account, "eleventh");
}

export async function console_portal_1_a_switch_moves_a_key_between_enabled_and_disabled({ page, visit }) {
  const account = await visit("console");
  const { token } = await call("CreateKey", { account, displayName: "switched" });
  await page.goto(list(account));
  await part(page, "Enabled").getByRole("button", { name: "Disable switched" }).click();
  await enforced(page);
  assert.equal(await verdict(token), "VERDICT_DISABLED");
  await part(page, "Disabled").getByRole("button", { name: "Enable switched" }).click();
  await enforced(page);
  assert.equal(await verdict(token), "VERDICT_VALID");
  await part(page, "Enabled").getByRole("link", { name: "switched", exact: true }).waitFor();
}

export async function console_portal_2_the_name_is_edited_where_it_stands({ page, visit }) {
  const account = await visit("console");
  await call("CreateKey", { account, displayName: "old name" });
  await openKey(page, account, "old name");
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("new name");
  await page.getByRole("button", { name: "Save" }).click();
  await enforced(page);
  await page.getByRole("heading", { level: 1, name: "new name" }).waitFor();
}

export async function console_portal_3_a_masked_key_is_copied_and_the_trail_records_it({ page, visit, js }) {
  const account = await visit("console");
  const { key, token } = await call("CreateKey", { account, displayName: "masked" });
  await page.goto(list(account));
  assert.ok(!(await page.content()).includes(token), "the list has hints alone");
  const copy = page.getByRole("button", { name: "Copy the token of masked" });
  if (js) {
    assert.equal(await copied(page, copy), token);
  } else {
    await copy.click();
    assert.equal(await page.getByRole("textbox", { name: "Token" }).inputValue(), token);
  }
  await page.goto(`/console/keys/${key.id}`);
  await page.getByRole("table", { name: "Audit trail" }).getByText("Reveal token").waitFor();
  const closed = await visit("mecha");
  await call("CreateKey", { account: closed, displayName: "closed" });
  await page.goto(list(closed));
  assert.equal(await page.getByRole("button", { name: /^Copy/ }).count(), 0);
}

export async function console_portal_4_last_used_and_created_are_relative_with_the_exact_time({ page, visit }) {
  const account = await visit("console");
  const { key, token } = await call("CreateKey", { account, displayName: "used" });
  await verdict(token);
  for (let used; !used; ) used = (await call("GetKey", { keyId: key.id })).lastUsedTime;
  await page.goto(list(account));
  const times = row(page, "used").locator("time");
  assert.equal(await times.count(), 2);
  for (const time of await times.all()) {
    assert.match(await time.textContent(), /^(just now|\d+ seconds? ago)$/);
    assert.match(await time.getAttribute("title"), /^\d+ \w{3} \d{4}, \d\d:\d\d:\d\d UTC$/);
  }
}

export async function console_portal_5_delete_asks_and_warns_of_recent_use({ page, visit }) {
  const account = await visit("console");
  const { key, token } = await call("CreateKey", { account, displayName: "busy" });
  await verdict(token);
  for (let used; !used; ) used = (await call("GetKey", { keyId: key.id })).lastUsedTime;
  await openKey(page, account, "busy");
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("alert").getByText(/It was last used (just now|.* ago), on .* UTC/).waitFor();
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("checkbox", { name: "Delete it although it was used recently" }).waitFor();
  assert.equal(await verdict(token), "VERDICT_VALID");
  await page.getByRole("checkbox", { name: "Delete it although it was used recently" }).check();
  await page.getByRole("button", { name: "Delete" }).click();
  await enforced(page);
  assert.equal(await verdict(token), "VERDICT_UNKNOWN");
}

export async function console_portal_6_an_ai_agent_is_connected_with_the_accounts_key({ page, visit, js }) {
  const account = await visit("console");
  await page.goto(list(account));
  await page.getByRole("link", { name: "Connect to an AI agent" }).click();
  await connectForm(page, "Codex");
  await page.getByRole("button", { name: "Create a key and show the instructions" }).click();
  await page.getByText("The key “acme” was created.").waitFor();
  const token = /org_key_\w+/.exec(await page.getByRole("textbox", { name: "Terminal" }).inputValue())[0];
  assert.equal(await verdict(token), "VERDICT_VALID");
  await connectForm(page, "VS Code");
  await page.getByRole("button", { name: "Show the instructions" }).click();
  await page.getByText("The command below contains the new token.").waitFor();
  const command = await page.getByRole("textbox", { name: "Terminal" }).inputValue();
  assert.ok(command.startsWith("code --add-mcp") && command.includes(token), command);
  if (js) assert.equal(await copied(page, page.getByRole("button", { name: "Copy", exact: true })), command);
  await connectForm(page, "Cursor");
  await page.getByRole("button", { name: "Show the instructions" }).click();
  const link = await page.getByRole("link", { name: "Open in Cursor" }).getAttribute("href");
  assert.match(link, /^cursor:\/\/anysphere\.cursor-deeplink\/mcp\/install\?name=acme&config=/);
}

export async function gaio_portal_1_the_columns_of_the_list({ page, visit }) {
  const account = await visit("gaio");
  const { key, token } = await call("CreateKey", { account, displayName: "Website", projects: { only: ["a", "b"] } });
  await page.goto(list(account));
  const found = row(page, "Website");
  for (const text of [key.id, "Active", "Website", `${key.tokenHint}…`]) await found.getByText(text, { exact: true }).first().waitFor();
  await found.getByRole("link", { name: "Projects of Website: 2" }).waitFor();
  assert.ok(!(await page.content()).includes(token));
}

export async function gaio_portal_2_a_new_key_has_a_name_and_a_switch_for_active({ page, visit }) {
  const account = await visit("gaio");
  const token = await createKey(page, account, "later", () => page.getByRole("checkbox", { name: "Active" }).uncheck());
  assert.equal(await verdict(token), "VERDICT_DISABLED");
}

export async function gaio_portal_3_the_projects_badge_opens_a_choice_of_projects({ page, visit }) {
  const account = await visit("gaio");
  await call("CreateKey", { account, displayName: "other", projects: { only: ["alpha", "beta"] } });
  const { token } = await call("CreateKey", { account, displayName: "chosen" });
  await page.goto(list(account));
  await page.getByRole("link", { name: "Projects of chosen: 0" }).click();
  await page.getByRole("checkbox", { name: "alpha" }).check();
  await page.getByRole("checkbox", { name: "beta" }).check();
  await page.getByRole("button", { name: "Save" }).click();
  await enforced(page);
  assert.equal(await verdict(token, { project: "alpha" }), "VERDICT_VALID");
  assert.equal(await verdict(token, { project: "gamma" }), "VERDICT_PROJECT_DENIED");
  await page.goto(list(account));
  await page.getByRole("link", { name: "Projects of chosen: 2" }).waitFor();
}

export async function gaio_portal_4_renew_asks_and_shows_the_new_token_once({ page, visit }) {
  const account = await visit("gaio");
  const { key, token: old } = await call("CreateKey", { account, displayName: "renewed", projects: { only: ["p"] } });
  await openKey(page, account, "renewed");
  await page.getByRole("button", { name: "Renew" }).click();
  await page.getByRole("heading", { name: "Renew “renewed”?" }).waitFor();
  await page.getByText("ends at once, at every replica").waitFor();
  assert.equal(await verdict(old, { project: "p" }), "VERDICT_VALID");
  await page.getByRole("button", { name: "Renew" }).click();
  await enforced(page);
  const token = await page.getByRole("textbox", { name: "Token" }).inputValue();
  assert.equal(await verdict(old, { project: "p" }), "VERDICT_EXPIRED");
  assert.equal(await verdict(token, { project: "p" }), "VERDICT_VALID");
  letGo(page);
  await page.goto(`/console/keys/${key.id}`);
  assert.ok(!(await page.content()).includes(token));
}

export async function gaio_portal_5_edit_changes_name_and_projects({ page, visit }) {
  const account = await visit("gaio");
  const { key } = await call("CreateKey", { account, displayName: "before", projects: { only: ["alpha"] } });
  await openKey(page, account, "before");
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("after");
  await page.getByRole("checkbox", { name: "alpha" }).uncheck();
  await page.getByRole("textbox", { name: "Other projects, one in each line" }).fill("beta\ngamma");
  await page.getByRole("button", { name: "Save" }).click();
  await enforced(page);
  const changed = await call("GetKey", { keyId: key.id });
  assert.deepEqual([changed.displayName, changed.projects.only], ["after", ["beta", "gamma"]]);
}

export async function gaio_portal_6_delete_asks_and_stops_every_integration({ page, visit }) {
  const account = await visit("gaio");
  const { token } = await call("CreateKey", { account, displayName: "gone", projects: { only: ["p"] } });
  await openKey(page, account, "gone");
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { name: "Delete “gone”?" }).waitFor();
  assert.equal(await verdict(token, { project: "p" }), "VERDICT_VALID");
  await page.getByRole("button", { name: "Delete" }).click();
  await enforced(page);
  assert.equal(await verdict(token, { project: "p" }), "VERDICT_UNKNOWN");
}

export async function gaio_portal_7_the_page_of_a_key_lists_who_did_what_and_when({ page, visit, who }) {
  const account = await visit("gaio");
  letGo(page);
  await createKey(page, account, "history");
  await openKey(page, account, "history");
  await page.getByRole("button", { name: "Disable" }).click();
  await enforced(page);
  await page.getByRole("button", { name: "Enable" }).click();
  await enforced(page);
  const trail = page.getByRole("table", { name: "Audit trail" });
  const rows = await trail.getByRole("row").filter({ hasText: "ago" }).or(trail.getByRole("row").filter({ hasText: "just now" })).allTextContents();
  const actions = rows.map((text) => /(Create|Disable|Enable) key/.exec(text)?.[0]);
  assert.deepEqual(actions, ["Enable key", "Disable key", "Create key"]);
  for (const text of rows) assert.ok(text.includes(who), `${text} names ${who}`);
}
