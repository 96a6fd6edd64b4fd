// The jobs of CI that the README shows: GitHub's with its grants, run step by step through Zonekeeper to a Worker
// that is deployed; GitLab's, run by a shell against an address that answers as Zonekeeper does.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { at } from "../../scripts/lib/paths.mjs";
import { send } from "./lib/http.mjs";
import { readYaml, runWorkflow } from "./lib/workflow.mjs";
import { Zonekeeper } from "./lib/zonekeeper.mjs";

describe("the workflow of the README", () => {
  const ISSUER = "https://token.actions.githubusercontent.com";
  const ADDRESS = "https://zonekeeper.example.com";
  const ACCOUNT = "0123456789abcdef0123456789abcdef";

  let zk;
  let account;
  let folder;
  let shown;
  before(async () => {
    zk = await Zonekeeper.start();
    account = zk.sim.state.accounts.find(({ name }) => name === "Acme").id;
    folder = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-readme-"));
    shown = await section();
    await zk.apply(shown.toml);
    // The account is seeded with a Worker of that name: this one is to be new.
    assert.equal((await zk.sim.cf("DELETE", `/accounts/${account}/workers/scripts/site?force=true`)).status, 200);
  });
  after(async () => {
    await zk?.stop();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  /** What the section shows, with nothing replaced but addresses and the account. */
  async function section() {
    const [, text] = (await readFile(at("README.md"), "utf8")).split("\n## CI without secrets\n");
    const local = text
      .replaceAll(ISSUER, `${zk.sim.url}/__sim/oidc/github`)
      .replaceAll(ADDRESS, zk.url)
      .replaceAll(ACCOUNT, account);
    const [toml, yaml] = ["toml", "yaml"].map((language) => new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(local)[1]);
    return { toml, workflow: readYaml(yaml) };
  }

  /** The repository that is checked out: a Worker that says so, and wrangler installed. */
  async function site(text) {
    const home = path.join(folder, text);
    await mkdir(home);
    await writeFile(path.join(home, "wrangler.jsonc"), JSON.stringify({ name: "site", main: "index.js", compatibility_date: "2026-01-01" }));
    await writeFile(path.join(home, "index.js"), `export default { fetch() { return new Response("${text}"); } };\n`);
    await writeFile(path.join(home, "package.json"), JSON.stringify({ private: true, devDependencies: { wrangler: "4.164.0" } }));
    await symlink(at("node_modules"), path.join(home, "node_modules"));
    return home;
  }

  /** Runs the workflow on a Worker of that text, as a job that GitHub says this of. */
  async function push(text, claims = {}) {
    const sign = async (audience) => {
      const body = { preset: "github", claims: { repository_id: "123456", aud: audience, ...claims } };
      const answer = await send(zk.sim.url, { method: "POST", path: "/__sim/oidc/github/sign", body });
      assert.equal(answer.status, 200, answer.text);
      return answer.json.token;
    };
    // npx must find what is installed, not ask the network for it.
    const env = { npm_config_offline: "true", WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false", NO_COLOR: "1" };
    const mark = await zk.sim.mark();
    const job = await runWorkflow(shown.workflow, { checkout: await site(text), actions: "your-org/zonekeeper", sign, folder, env });
    return { ...job, writes: (await zk.sim.writes({ after: mark })).filter(({ path: where }) => where.startsWith("/client/v4/")) };
  }

  test("from another ref it gets no key, and nothing is deployed", { timeout: 120_000 }, async () => {
    const { code, output, ran, writes } = await push("feature", { ref: "refs/heads/feature" });
    assert.equal(code, 1, output);
    assert.match(output, /::error title=Zonekeeper login::Zonekeeper gave no key: /);
    assert.deepEqual(ran, ["actions/checkout@v5"]);
    assert.deepEqual(writes, []);
    assert.equal((await zk.sim.cf("GET", `/accounts/${account}/workers/scripts/site`)).status, 404);
    const [entry] = await zk.audit({ limit: 1 });
    assert.equal(entry.decision, "deny");
    assert.match(entry.sentence, /^Somebody \(a token of GitHub acme\/site@feature, run 812 by ada\) asked to exchange a token/);
  });

  for (const text of ["the first version", "the second version"]) {
    test(`from main it deploys ${text} of a Worker, and the audit log says who stood behind it`, { timeout: 120_000 }, async () => {
      const { code, output, ran } = await push(text);
      assert.equal(code, 0, output);
      assert.equal(ran.at(-1), "npx wrangler deploy");
      const live = await zk.sim.cf("GET", `/accounts/${account}/workers/scripts/site`);
      assert.equal(live.status, 200, live.text);
      assert.ok(live.text.includes(`new Response("${text}")`), live.text);
      const entries = await zk.audit({ principal: "site-ci", limit: 100 });
      assert.deepEqual(entries.filter(({ decision }) => decision === "deny").map(({ sentence }) => sentence), []);
      const uploads = entries.filter(({ operation }) => ["worker-script-upload-worker-module", "worker-versions-upload-version"].includes(operation));
      assert.match(uploads[0].sentence, /^site-ci \(GitHub acme\/site@main, run 812 by ada\) uploaded (a version of )?Worker site( and put it on all traffic)? in account Acme; allowed by site-deploy\.$/);
    });
  }
});

/** The lines of the job's script that get the key. */
async function script() {
  const text = await readFile(at("README.md"), "utf8");
  const [, job] = text.split("On GitLab the job asks by itself:");
  const lines = job.slice(job.indexOf("    - |\n") + 8).split("\n");
  return lines.slice(0, lines.findIndex((line) => !line.startsWith("      "))).join("\n");
}

/** Runs the script where the exchange is answered so, and what the job does next. */
async function run(shell, status, answer) {
  let sent = "";
  const server = http.createServer((request, response) => {
    request.on("data", (chunk) => (sent += chunk));
    request.on("end", () => response.writeHead(status, { "content-type": "application/json" }).end(answer));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const text = (await script()).replaceAll("https://zonekeeper.example.com", url);
  const next = `sh -c 'echo "$CLOUDFLARE_API_TOKEN at $CLOUDFLARE_API_BASE_URL"'`;
  const child = spawn(shell[0], [...shell.slice(1), "-c", `${text}\n${next}`], {
    env: { PATH: process.env.PATH, ZONEKEEPER_ID_TOKEN: "a.b.c" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const code = await new Promise((resolve) => child.on("close", resolve));
  server.close();
  assert.match(sent, /subject_token=a\.b\.c/);
  return { code, output: output.trim().replace(url, "URL") };
}

for (const shell of [["sh", "-e"], ["bash", "-eo", "pipefail"]]) {
  test(`the job of the README goes on with a key, by ${shell[0]}`, async () => {
    const answer = JSON.stringify({ access_token: "KEY", token_type: "Bearer" });
    assert.deepEqual(await run(shell, 200, answer), { code: 0, output: "KEY at URL/client/v4" });
  });

  test(`the job of the README stops without one and says why, by ${shell[0]}`, async () => {
    const answer = JSON.stringify({ error: "invalid_request", error_description: "The token was used before." });
    assert.deepEqual(await run(shell, 400, answer), { code: 1, output: "Zonekeeper gave no key: The token was used before." });
    assert.deepEqual(await run(shell, 502, "<html>"), { code: 1, output: "Zonekeeper gave no key:" });
  });
}
