// How long the server takes for pages of an account with very many keys. `scripts/bench-console` runs it.
//
// Environment: BASE (the HTTP door), TOKEN (the root token), ACCOUNT, and ROUNDS (of each page, after a tenth to warm up).

import { Agent, request } from "node:http";
import { performance } from "node:perf_hooks";

const { BASE: base, TOKEN: token, ACCOUNT: account } = process.env;
const rounds = Number(process.env.ROUNDS);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const jar = new Map();

/** Sends a request on the one connection; returns the body, and the time until it was complete. */
function send(method, path, body = "") {
  const headers = {
    "accept-encoding": "gzip",
    "content-type": "application/x-www-form-urlencoded",
    "sec-fetch-site": "same-origin",
    cookie: [...jar].map((pair) => pair.join("=")).join("; "),
  };
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const sent = request(`${base}${path}`, { method, agent, headers }, (response) => {
      for (const cookie of response.headers["set-cookie"] ?? []) jar.set(...cookie.split(";")[0].split(/=(.*)/s));
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => {
        const millis = performance.now() - began;
        if (response.statusCode >= 400) reject(new Error(`${path}: ${response.statusCode}`));
        else resolve({ body: Buffer.concat(parts), millis });
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

async function signIn() {
  const page = await fetch(`${base}/console/sign-in`);
  for (const cookie of page.headers.getSetCookie()) jar.set(...cookie.split(";")[0].split(/=(.*)/s));
  const formToken = /name="form_token" value="([^"]+)"/.exec(await page.text())[1];
  await send("POST", "/console/sign-in", new URLSearchParams({ form_token: formToken, token, to: "/console/" }).toString());
}

const keys = `/console/accounts/${account}`;
const pages = {
  "keys of the account, newest first": keys,
  "… by name": `${keys}?sort=display_name`,
  "… last used first": `${keys}?sort=last_used_time+desc`,
  "… expires first": `${keys}?sort=expire_time`,
  "… only disabled ones": `${keys}?state=disabled`,
  "… search with one result": `${keys}?q=service+number+77777`,
  "… search without a result": `${keys}?q=no+such+key`,
  "keys of all accounts, newest first": "/console/keys",
  "… search with one result, all accounts": "/console/keys?q=service+number+77777",
  "create key": `${keys}/create`,
  "connect": `${keys}/connect`,
  "audit": "/console/audit",
};

await signIn();
console.log("| page | median, ms | p99, ms | KB as sent |\n|---|---:|---:|---:|");
for (const [name, path] of Object.entries(pages)) {
  const times = [];
  let size = 0;
  for (let round = -rounds / 10; round < rounds; round += 1) {
    const { body, millis } = await send("GET", path);
    size = body.length;
    if (round >= 0) times.push(millis);
  }
  times.sort((one, other) => one - other);
  const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(1);
  console.log(`| ${name} | ${at(0.5)} | ${at(0.99)} | ${(size / 1000).toFixed(1)} |`);
}
agent.destroy();
