// What protects the people who use the console.

import { once } from "node:events";
import { createServer } from "node:http";

import {
  WITH_SCRIPTS, assert, base, call, continueToPortal, createKey, enterPortal, isFirefox, keysOf, letGo, newAccount, newWindow, part, portalUrl, rootToken, signIn, user, verdict,
} from "./browser.mjs";

const HOSTILE = [
  "<script>document.title = 'owned'</script>",
  "\"><img src=x onerror=\"document.title = 'owned'\">",
  "' autofocus onfocus='document.title = 1",
  "\u202egnp.exe\u202c \u2066\u200b",
  "😀".repeat(200),
];

/** Names with markup, quotes and direction marks stay text. */
export async function hostile_names_stay_text(browser) {
  const account = await newAccount("plain");
  const page = await newWindow(browser);
  await signIn(page);
  for (const displayName of HOSTILE) {
    const { key } = await call("CreateKey", { account, displayName, description: displayName, labels: { l: displayName.slice(0, 100) } });
    for (const path of [`/console/accounts/${account}`, `/console/keys/${key.id}`, `/console/keys/${key.id}/delete`, `/console/accounts/${account}/connect`, "/console/audit"]) {
      await page.goto(path);
      assert.notEqual(await page.title(), "owned");
      assert.equal(await page.evaluate(() => document.querySelectorAll("main script, main img, main [onfocus], main [onerror]").length), 0);
    }
    await page.goto(`/console/keys/${key.id}`);
    assert.equal(await page.getByRole("textbox", { name: "Name", exact: true }).inputValue(), displayName);
  }
  assert.deepEqual(page.problems, []);
}

/** A form of another site, a frame and a script of another site change nothing. */
export async function other_sites_can_do_nothing(browser) {
  const account = await newAccount("plain");
  const { key, token } = await call("CreateKey", { account, displayName: "target" });
  const page = await newWindow(browser);
  await signIn(page);
  await page.goto(`/console/keys/${key.id}`);
  const formToken = await page.locator("input[name=form_token]").first().inputValue();
  const evil = await page.context().newPage();
  // Another origin in the same browser: it has the cookie jar, but not the site.
  await evil.route("http://evil.example/*", (route) => route.fulfill({
    contentType: "text/html",
    body: `<form method="post" action="${base}/console/keys/${key.id}/disable"><input name="form_token" value="${formToken}"><button>Go</button></form>
      <iframe src="${base}/console/keys/${key.id}"></iframe>`,
  }));
  await evil.goto("http://evil.example/");
  const framed = isFirefox ? /^about:/ : /^chrome-error:/;
  assert.match(evil.frames()[1].url(), framed, "the console is in a frame");
  await evil.getByRole("button", { name: "Go" }).click();
  await evil.getByRole("heading").first().waitFor();
  assert.equal(await verdict(token), "VERDICT_VALID");
  assert.equal((await call("GetKey", { keyId: key.id })).state, "KEY_STATE_ACTIVE");
  // A link leads in, although the browser keeps the cookie back at first.
  await evil.goto("http://evil.example/");
  await evil.evaluate((to) => { location.href = to; }, `${base}/console/keys/${key.id}`);
  await evil.getByRole("heading", { level: 1, name: "target" }).waitFor();
}

/** A product on another site redirects its user to a portal: the first page after the link has its session. */
export async function a_portal_is_entered_from_another_site(browser) {
  const account = await newAccount("meko");
  const referrers = [];
  const product = createServer(async (request, response) => {
    if (request.url === "/keys") {
      response.writeHead(303, { location: await portalUrl(account) }).end();
    } else {
      referrers.push(request.headers.referer);
      response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><a href='/keys'>API keys</a>");
    }
  });
  await once(product.listen(0, "127.0.0.1"), "listening");
  try {
    // Another host name is another site, so the browser treats each step as cross-site.
    const site = `http://localhost:${product.address().port}/`;
    assert.notEqual(new URL(site).hostname, new URL(base).hostname);
    for (const js of WITH_SCRIPTS) {
      const page = await newWindow(browser, { js });
      await page.goto(site);
      await page.getByRole("link", { name: "API keys" }).click();
      await continueToPortal(page);
      await page.getByRole("button", { name: "Sign out" }).waitFor();
      assert.equal(new URL(page.url()).pathname, `/console/accounts/${account}`);
      await page.getByText(user).waitFor();
      const token = await createKey(page, account, `from another site ${js}`);
      assert.equal(await verdict(token), "VERDICT_VALID");
      letGo(page);
      await page.goto(site);
      const cookies = await page.context().cookies();
      assert.ok(cookies.every((cookie) => cookie.httpOnly));
      assert.equal(cookies.find((cookie) => cookie.name === "key-authority").sameSite, "Strict");
      assert.deepEqual(page.problems, []);
    }
    assert.ok(referrers.every((referrer) => !referrer?.includes("code=")), referrers.join(" "));
  } finally {
    product.close();
  }
}

/** A link that somebody copied opens the keys once. */
export async function a_copied_link_opens_once(browser) {
  const account = await newAccount("meko");
  for (const js of WITH_SCRIPTS) {
    const [first, second] = [await newWindow(browser, { js }), await newWindow(browser, { js })];
    const url = await portalUrl(account);
    // A preview, which gets the page and does not send its form, uses nothing up.
    assert.ok((await fetch(url)).ok);
    await enterPortal(first, url);
    assert.equal(new URL(first.url()).pathname, `/console/accounts/${account}`);
    await second.goto(url);
    await continueToPortal(second);
    await second.getByRole("heading", { name: "This link no longer works" }).waitFor();
    await second.goto(`${base}/console/accounts/${account}`);
    await second.getByRole("heading", { name: "Sign in" }).waitFor();
    // The same link leads a browser that has the session back to the keys.
    await first.goto(url);
    await first.getByRole("button", { name: "Sign out" }).waitFor();
    assert.equal(new URL(first.url()).pathname, `/console/accounts/${account}`);
  }
}

/** A name with markup in the header of a portal stays text. */
export async function a_hostile_user_of_a_portal_stays_text(browser) {
  const account = await newAccount("plain");
  for (const subject of HOSTILE.map((name) => [...name].slice(0, 128).join(""))) {
    const page = await newWindow(browser);
    await enterPortal(page, await portalUrl(account, { subject }));
    await createKey(page, account, "made by somebody");
    assert.notEqual(await page.title(), "owned");
    assert.equal(await page.evaluate(() => document.querySelectorAll("main script, header script, header img[onerror], [onfocus]").length), 0);
    assert.ok((await page.locator("header").textContent()).includes(subject));
    assert.deepEqual(page.problems, []);
    await page.context().close();
  }
}

/** Neither storage nor the history of the browser has a token. */
export async function the_browser_keeps_no_token(browser) {
  const account = await newAccount("plain");
  const page = await newWindow(browser);
  await signIn(page);
  const token = await createKey(page, account, "kept nowhere");
  const stored = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, history.state]));
  for (const secret of [token, rootToken]) assert.ok(!stored.includes(secret), stored);
  const cookies = JSON.stringify(await page.context().cookies());
  for (const secret of [token, rootToken]) assert.ok(!cookies.includes(secret));
  assert.ok((await page.context().cookies()).every((cookie) => cookie.httpOnly && cookie.sameSite === "Strict"));
}

/** A token that is pasted into a search finds its key, and no request has it in its address. */
export async function a_pasted_token_is_in_no_address(browser) {
  const account = await newAccount("console");
  const { key, token } = await call("CreateKey", { account, displayName: "pasted" });
  const page = await newWindow(browser);
  const addresses = [];
  page.on("request", (request) => addresses.push(request.url()));
  await signIn(page);
  const basic = Buffer.from(`name:${token}`).toString("base64");
  const leaked = [token, token.replaceAll("_", "%5F"), `"Bearer\\u0020${token}"`, `/c/${basic}`];
  for (const path of ["/console/keys", `/console/accounts/${account}`]) {
    for (const text of leaked) {
      await page.goto(path);
      await page.getByRole("searchbox").fill(text);
      await page.waitForURL((url) => url.searchParams.get("q") === key.tokenHint);
      await page.getByRole("link", { name: "pasted", exact: true }).waitFor();
    }
  }
  await page.goto("/console/audit");
  await page.getByRole("textbox", { name: "Key ID" }).fill(token);
  assert.equal(await page.getByRole("textbox", { name: "Key ID" }).inputValue(), key.tokenHint);
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await page.waitForURL((url) => url.searchParams.get("key") === key.tokenHint);
  const part = token.slice(-20);
  const encoded = [part, basic.slice(-20), encodeURIComponent(basic).slice(-20)];
  assert.deepEqual(addresses.filter((address) => encoded.some((text) => address.includes(text))), []);
}

/** A double click makes one key, and its token is shown. */
export async function a_double_click_makes_one_key(browser) {
  const account = await newAccount("plain");
  const page = await newWindow(browser);
  await signIn(page);
  await page.goto(`/console/accounts/${account}/create`);
  await page.getByRole("textbox", { name: "Name" }).fill("twice");
  await page.getByRole("button", { name: "Create", exact: true }).dblclick();
  await page.getByRole("heading", { name: "Key created" }).waitFor();
  const token = await page.getByRole("textbox", { name: "Token" }).inputValue();
  assert.equal(await verdict(token), "VERDICT_VALID");
  assert.equal((await keysOf(account)).length, 1);
}

/** A part of a page that cannot be loaded, and a token that cannot be copied, are said where the person looks. */
export async function a_failure_beside_the_page_is_said(browser) {
  const account = await newAccount("plain");
  const prepare = (page) => page.addInitScript(() => {
    navigator.clipboard.writeText = () => Promise.reject(new Error("denied"));
    document.execCommand = () => false;
  });
  const page = await newWindow(browser, { prepare });
  await signIn(page);
  await createKey(page, account, "unlucky");
  const warning = page.locator("main").getByRole("alert");
  await page.getByRole("button", { name: "Copy", exact: true }).click();
  await warning.getByText("Copying failed. Select the text").waitFor();
  await page.getByRole("textbox", { name: "Name of the server" }).fill("acme");
  await page.getByRole("textbox", { name: "Address of the server" }).fill("https://mcp.example.com/mcp");
  const failures = [
    [(route) => route.abort(), "The server did not answer."],
    [(route) => route.fulfill({ status: 503, body: "" }), "The server cannot do this now (status 503)."],
    [(route) => route.fulfill({ status: 403, body: "" }), "Save the token first, then open the page again."],
  ];
  for (const [fail, text] of failures) {
    await page.route("**/instructions", fail, { times: 1 });
    await page.getByRole("button", { name: "Show the instructions" }).click();
    await warning.getByText(text).waitFor();
    assert.equal(await warning.count(), 1);
  }
  // The token was not saved: the browser still asks before the page is left.
  const asked = page.waitForEvent("dialog");
  page.getByRole("link", { name: "All keys of the account" }).click().catch(() => {});
  await (await asked).dismiss();
  await page.getByRole("button", { name: "Show the instructions" }).click();
  await page.getByText("The command below contains the new token.").waitFor();
  assert.equal(await page.locator("#warning").count(), 0);
  letGo(page);
}

/** Two browsers at two replicas: what one revokes, the other shows as revoked, and both deny it at once. */
export async function two_browsers_at_two_replicas_agree(browser) {
  const other = process.env.OTHER;
  const account = await newAccount("meko");
  const { key, token } = await call("CreateKey", { account, displayName: "shared" });
  const [first, second] = [await newWindow(browser), await newWindow(browser, { at: other })];
  await signIn(first);
  await signIn(second, rootToken, `${other}/console/`);
  await second.goto(`${other}/console/accounts/${account}`);
  await part(second, "Enabled").getByRole("link", { name: "shared", exact: true }).waitFor();
  await first.goto(`/console/keys/${key.id}`);
  await first.getByRole("textbox", { name: "Type the name of the key" }).fill("shared");
  await first.getByRole("button", { name: "Revoke" }).click();
  await first.getByText("Enforced by 2 of 2 replicas after").waitFor();
  for (const at of [base, other]) assert.equal((await call("Verify", { token }, rootToken, at)).verdict, "VERDICT_REVOKED");
  await second.reload();
  await part(second, "Ended").getByRole("link", { name: "shared", exact: true }).waitFor();
  await second.goto(`${other}/console/replicas`);
  assert.equal(await second.getByRole("table", { name: "Replicas" }).getByRole("row").count(), 3);
  // A session of one replica is one of the other.
  await second.context().clearCookies();
  const cookies = (await first.context().cookies()).map((cookie) => ({ ...cookie, domain: new URL(other).hostname }));
  await second.context().addCookies(cookies);
  await second.goto(`${other}/console/accounts`);
  await second.getByRole("heading", { name: "Accounts" }).waitFor();
}

