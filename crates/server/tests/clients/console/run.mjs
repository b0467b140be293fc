// Runs one scenario: `node run.mjs FILE NAME`. A scenario of a product runs with scripts and without them.

import { call, launch, newAccount, newWindow, signIn } from "./browser.mjs";

const [file, name] = process.argv.slice(2);
const scenario = (await import(`./${file}.mjs`))[name];
if (!scenario) throw new Error(`there is no scenario ${name} in ${file}.mjs`);

const browser = await launch();
try {
  if (file === "products") {
    for (const js of [true, false]) {
      const page = await newWindow(browser, { js });
      let isSignedIn = false;
      const visit = async (product) => {
        const account = await newAccount(product);
        if (!isSignedIn) await signIn(page);
        isSignedIn = true;
        return account;
      };
      const [root] = (await call("ListKeys", { account: "system" })).keys;
      try {
        await scenario({ page, visit, js, who: root.id });
      } catch (error) {
        error.message = `${js ? "with" : "without"} scripts, at ${page.url()}: ${error.message}`;
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
