// The page of the audit log: its filters, alone and together.

import { WITH_SCRIPTS, assert, call, newAccount, newWindow, signIn } from "./browser.mjs";

const rows = (page) => page.locator("table[aria-label=Events] > tbody > tr");
const cells = (page, label) => rows(page).locator(`td[data-label="${label}"]`).allTextContents();

/** Fills in the form, with empty fields where `filters` has none, and sends it. */
async function narrow(page, { account = "", key = "", actor = "", action = "Any action", from = "", until = "" }) {
  await page.goto("/console/audit");
  await page.getByRole("textbox", { name: "Account" }).fill(account);
  await page.getByRole("textbox", { name: "Key ID" }).fill(key);
  await page.getByRole("textbox", { name: "Actor" }).fill(actor);
  await page.getByRole("combobox", { name: "Action" }).selectOption({ label: action });
  await page.getByLabel("From (UTC)").fill(from);
  await page.getByLabel("Until (UTC)").fill(until);
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForURL(/[?&]until=/);
}

/** Fails unless the page lists these actions, the newest first. */
async function lists(page, ...actions) {
  assert.deepEqual(await cells(page, "Action"), actions);
  if (actions.length > 0) await page.getByText("The newest event is first.").waitFor();
  else await page.getByText("No event matches.").waitFor();
}

export async function the_audit_log_is_narrowed(browser) {
  const [account, other] = [await newAccount("plain"), await newAccount("plain")];
  const { key: caller, token } = await call("CreateKey", { account: "system", displayName: "backend", scopes: ["keys.write"] });
  const { key } = await call("CreateKey", { account, displayName: "by the root key" });
  await call("CreateKey", { account, displayName: "by the caller" }, token);
  await call("CreateKey", { account: other, displayName: "elsewhere" }, token);
  await call("DisableKey", { keyId: key.id }, token);
  const { events } = await call("ListAuditEvents", { account });
  // The fields have minutes.
  const began = events[0].time.slice(0, 16);
  const tomorrow = new Date(Date.parse(events.at(-1).time) + 86_400_000).toISOString().slice(0, 16);

  for (const js of WITH_SCRIPTS) {
    const page = await newWindow(browser, { js });
    await signIn(page);
    await narrow(page, { account });
    await lists(page, "Disable key", "Create key", "Create key", "Create account");
    assert.deepEqual([...new Set(await cells(page, "Account"))], [account]);
    assert.equal(await page.getByRole("textbox", { name: "Account" }).inputValue(), account);

    await narrow(page, { key: key.id });
    await lists(page, "Disable key", "Create key");
    assert.deepEqual([...new Set(await cells(page, "Key"))], [key.id]);

    await narrow(page, { actor: caller.id });
    await lists(page, "Disable key", "Create key", "Create key");
    assert.deepEqual([...new Set(await cells(page, "By"))], [caller.id]);

    await narrow(page, { actor: caller.id, action: "Create key" });
    await lists(page, "Create key", "Create key");
    assert.equal(await page.getByRole("combobox", { name: "Action" }).inputValue(), "ACTION_CREATE_KEY");
    await narrow(page, { actor: caller.id, action: "Create key", account });
    await lists(page, "Create key");
    await narrow(page, { actor: caller.id, action: "Revoke key", account });
    await lists(page);

    await narrow(page, { account, from: began, until: tomorrow });
    await lists(page, "Disable key", "Create key", "Create key", "Create account");
    await narrow(page, { account, until: began });
    await lists(page);
    await narrow(page, { account, action: "Create key", from: tomorrow });
    await lists(page);
    // Without the time, the other filters stay.
    await page.getByRole("link", { name: "Show events of all times" }).click();
    await page.getByText("The newest event is first.").waitFor();
    await lists(page, "Create key", "Create key");
    assert.deepEqual(page.problems, []);
  }
}

/** A page has 100 events; the next one has the same filters. */
export async function the_next_page_of_the_audit_log_has_the_same_filters(browser) {
  const account = await newAccount("plain");
  for (let number = 1; number <= 102; number += 1) {
    await call("CreateKey", { account, displayName: `key ${number}` });
    if (number % 50 === 0) await newAccount("plain");
  }
  const page = await newWindow(browser);
  await signIn(page);
  await narrow(page, { account, action: "Create key" });
  await page.getByText("The newest event is first.").waitFor();
  assert.equal(await rows(page).count(), 100);
  await page.getByRole("link", { name: "Next page" }).click();
  await page.waitForURL(/[?&]page=/);
  assert.deepEqual(await cells(page, "Action"), ["Create key", "Create key"]);
  assert.deepEqual([...new Set(await cells(page, "Account"))], [account]);
  assert.equal(await page.getByRole("link", { name: "Next page" }).count(), 0);
}
