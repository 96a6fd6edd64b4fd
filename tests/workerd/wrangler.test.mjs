// wrangler, unchanged, through the gateway: a CI key that may deploy one Worker with what it binds, and
// nothing beside it.

import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { once, run } from "../clients/wrangler.mjs";
import { at } from "../../scripts/lib/paths.mjs";
import { Zonekeeper } from "./lib/zonekeeper.mjs";

// One Worker, its KV namespace, its assets and secrets. What wrangler reads besides (the account's
// subdomain, lists of namespaces and databases) names nothing, so it is granted by operation or group.
const CONFIG = `
[[principals]]
name = "site-ci"
kind = "key"

[[grants]]
name = "site-deploy"
principals = ["site-ci"]
effect = "allow"
permissions = ["Workers Scripts Write"]
accounts = ["Acme"]
workers = { scripts = ["wrangler-site"], bindings = ["kv_namespace:site-cache", "plain_text", "secret_text", "assets"] }

[[grants]]
name = "site-cache"
principals = ["site-ci"]
effect = "allow"
permissions = ["Workers KV Storage Write"]
accounts = ["Acme"]
kv = { namespaces = ["site-cache"] }

[[grants]]
name = "site-reads"
principals = ["site-ci"]
effect = "allow"
permissions = ["D1 Read", "Workers KV Storage Read"]
operations = ["worker-subdomain-get-subdomain"]
accounts = ["Acme"]
`;

let zk;
let key;
let account;
let dir;
before(async () => {
  zk = await Zonekeeper.start({ config: CONFIG });
  ({ key } = await zk.mint("site-ci"));
  account = zk.sim.state.accounts.find(({ name }) => name === "Acme").id;
  dir = await mkdtemp(path.join(tmpdir(), "wrangler-"));
});
after(async () => {
  await zk?.stop();
  if (dir) await rm(dir, { recursive: true, force: true });
});

const namespace = (title) => zk.sim.state.kv.find((found) => found.title === title).id;

describe("wrangler with the grants of one Worker", () => {
  test("does all it does with an account's own token", { timeout: 600_000 }, async () => {
    const steps = await run({ base: `${zk.url}/client/v4`, token: key, account, dir });
    const failed = steps.filter(({ ok }) => !ok).map(({ name, why, output }) => `${name}: ${why}\n${output}`);
    assert.deepEqual(failed, []);
    const rows = await zk.audit({ principal: "site-ci", operation: "worker-assets-upload" });
    const tokens = rows.filter(({ credential, decision }) => decision === "allow" && credential.startsWith("an upload token of key "));
    assert.ok(rows.length > 0 && tokens.length === rows.length, "files came with their token");
  });

  test("e6: is refused another namespace under the name of the allowed binding", { timeout: 300_000 }, async () => {
    const project = path.join(dir, "foreign");
    await cp(at("tests", "clients", "wrangler-site"), project, { recursive: true });
    const file = path.join(project, "wrangler.jsonc");
    const text = await readFile(file, "utf8");
    await writeFile(file, text.replace(/0{32}/, namespace("billing")));
    const mark = await zk.sim.mark();
    const base = `${zk.url}/client/v4`;
    const { code, output } = await once(["deploy"], { cwd: project, base, token: key, account, home: path.join(dir, "home") });
    assert.notEqual(code, 0, output);
    assert.match(output, /kv_namespace/);
    assert.match(output, new RegExp(namespace("billing")));
    const uploads = (await zk.sim.ledger({ after: mark })).filter(({ method, path }) => method === "PUT" && path.includes("/workers/scripts/"));
    assert.deepEqual(uploads, [], "nothing was uploaded");
  });
});
