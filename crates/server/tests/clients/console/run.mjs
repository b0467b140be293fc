// Runs one scenario: `node run.mjs FILE NAME`. A scenario of a product runs for an operator and in a portal session, with
// scripts and without them; in Firefox, WebDriver BiDi cannot switch scripts off.

import { WITH_SCRIPTS, call, enterPortal, launch, newAccount, newWindow, portalUrl, signIn, user } from "./browser.mjs";

const [file, name] = process.argv.slice(2);
const scenario = (await import(`./${file}.mjs`))[name];
if (!scenario) throw new Error(`there is no scenario ${name} in ${file}.mjs`);

/** Who visits: how they come to an account, and how the audit log names them. */
const visitors = {
  operator: async (page) => {
    const [root] = (await call("ListKeys", { account: "system" })).keys;
    let isSignedIn = false;
    const enter = async () => {
      if (!isSignedIn) await signIn(page);
      isSignedIn = true;
    };
    return { enter, who: root.id };
  },
  portal: async (page) => ({ enter: async (account) => enterPortal(page, await portalUrl(account)), who: user }),
};

const browser = await launch();
try {
  if (file === "products") {
    for (const [visitor, js] of Object.keys(visitors).flatMap((visitor) => WITH_SCRIPTS.map((js) => [visitor, js]))) {
      const page = await newWindow(browser, { js });
      const { enter, who } = await visitors[visitor](page);
      const visit = async (product) => {
        const account = await newAccount(product);
        await enter(account);
        return account;
      };
      try {
        await scenario({ page, visit, js, who });
      } catch (error) {
        error.message = `${visitor}, ${js ? "with" : "without"} scripts, at ${page.url()}: ${error.message}`;
        console.error(await page.locator("main").innerText().catch(() => ""));
        throw error;
      }
      if (page.problems.length > 0) throw new Error(`errors on a page: ${page.problems.join("; ")}`);
      await page.context().close();
    }
  } else {
    await scenario(browser);
  }
} finally {
  await browser.close();
}
