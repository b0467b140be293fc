// The first run, as the README describes it: the address that the server prints, and the token in the file beside it.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

import { assert, copied, enforced, letGo, newWindow } from "./browser.mjs";

/** Verifies a token by gRPC. GRPC has the address. */
function verified(token, root) {
  const call = ["-d", "@", process.env.GRPC, "keyauthority.v1.KeyAuthority/Verify"];
  const answer = execFileSync(process.env.GRPCURL, ["-plaintext", "-H", `authorization: Bearer ${root}`, ...call], { input: JSON.stringify({ token }) });
  return JSON.parse(answer).verdict;
}

/** CONSOLE is what the server printed; TOKEN_FILE has the root token. */
export async function the_first_run_leads_from_the_printed_address_to_a_key(browser) {
  const { CONSOLE: printed, TOKEN_FILE: file } = process.env;
  const root = readFileSync(file, "utf8").trim();
  const page = await newWindow(browser, { at: printed });
  letGo(page);
  await page.goto(printed);
  await page.getByText("data/root.token").waitFor();
  await page.getByRole("textbox", { name: "Token" }).fill(root);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("There is no account for keys yet.").waitFor();
  await page.getByRole("link", { name: "Create the first one" }).click();
  await page.getByRole("textbox", { name: "ID" }).fill("shop");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByText("This account has no keys yet.").waitFor();
  await page.getByRole("link", { name: "Create the first key" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("my first key");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.getByRole("heading", { name: "Key created" }).waitFor();
  await enforced(page);
  const token = await copied(page, page.getByRole("button", { name: "Copy", exact: true }));
  assert.equal(verified(token, root), "VERDICT_VALID");
  await page.getByRole("link", { name: "The page of this key" }).click();
  await page.getByRole("textbox", { name: "Type the name of the key" }).fill("my first key");
  await page.getByRole("button", { name: "Revoke" }).click();
  await page.getByText(/^Revoked\. Enforced by 1 of 1 replica after/).waitFor();
  assert.equal(verified(token, root), "VERDICT_REVOKED");
  assert.deepEqual(page.problems, []);
}
