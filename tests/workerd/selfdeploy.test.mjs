// Zonekeeper deploys itself: `npm run deploy` into the simulator as if it were the real API, and real wrangler
// through a running Zonekeeper with a key that may do just that.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { RELEASE } from "../../scripts/lib/build.mjs";
import { readSettings } from "../../scripts/lib/deploy-settings.mjs";
import { at } from "../../scripts/lib/paths.mjs";
import { watch } from "../../scripts/lib/processes.mjs";
import { send } from "./lib/http.mjs";
import { Zonekeeper } from "./lib/zonekeeper.mjs";

const HOST = "zonekeeper.example.com";
const AUDIENCE = `https://${HOST}`;
const SETTINGS = `
routes = [{ pattern = "${HOST}", custom_domain = true }]
workers_dev = true

[vars]
ZONEKEEPER_LOCATION = "weur"
`;
const MADE = ["KEY_PEPPER", "AUDIT_SIGNING_KEY", "ROOT_KEY"];
const LIMIT = { timeout: 120_000 };

let zk;
let account;
let dir;
let rootKeyFile;
before(async () => {
  zk = await Zonekeeper.start();
  account = zk.sim.state.accounts.find(({ name }) => name === "Acme").id;
  dir = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-deploy-"));
  rootKeyFile = path.join(dir, "root.key");
  await writeFile(path.join(dir, "zonekeeper.deploy.toml"), SETTINGS);
});
after(async () => {
  await zk?.stop();
  if (dir) await rm(dir, { recursive: true, force: true });
});

/** Runs `npm run deploy` as CI would, without a terminal: `{code, output, writes}`, the writes that reached the API. */
async function deploy(args = [], env = {}) {
  const mark = await zk.sim.mark();
  const child = spawn(process.execPath, [at("scripts", "deploy.mjs"), "--settings", dir, ...args], {
    env: {
      ...process.env,
      CLOUDFLARE_API_BASE_URL: `${zk.sim.url}/client/v4`,
      CLOUDFLARE_API_TOKEN: zk.sim.state.token,
      CLOUDFLARE_ACCOUNT_ID: account,
      // The simulator does not run what is uploaded; this is the same build beside it.
      ZONEKEEPER_URL: zk.url,
      ZONEKEEPER_KEY: zk.rootKey,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  watch(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, output, writes: await zk.sim.writes({ after: mark }) };
}

const first = (args = []) => deploy(["--root-key-file", rootKeyFile, ...args], { ZONEKEEPER_UPSTREAM_TOKEN: zk.sim.state.token });
const generated = async () => JSON.parse(await readFile(path.join(dir, "wrangler.deploy.json"), "utf8"));

/** The metadata of an upload. */
function metadata({ body_base64 }) {
  const text = Buffer.from(body_base64, "base64").toString("latin1");
  return JSON.parse(/name="metadata"\r\n(?:[^\r]+\r\n)*\r\n([^\r]*)\r\n/.exec(text)[1]);
}

const isUpload = ({ method, path: where }) =>
  (method === "PUT" && /\/workers\/scripts\/[^/]+(\/content)?$/.test(where)) || (method === "POST" && where.endsWith("/versions"));
const api = async (where) => (await zk.sim.cf("GET", `/accounts/${account}${where}`)).result;
const liveVersion = async () => (await api("/workers/scripts/zonekeeper/deployments")).deployments[0].versions[0].version_id;

describe("npm run deploy", () => {
  test("says in one sentence what it lacks, and changes nothing", LIMIT, async () => {
    const cases = [
      [[], { CLOUDFLARE_API_TOKEN: "" }, /^CLOUDFLARE_API_TOKEN is missing: .*\.$/],
      [[], { CLOUDFLARE_ACCOUNT_ID: "" }, /^CLOUDFLARE_ACCOUNT_ID is missing: .*\.$/],
      [[], {}, /^There is no terminal to show the root key on: .*--root-key-file\.$/],
      [["--root-key-file", rootKeyFile], {}, /^ZONEKEEPER_UPSTREAM_TOKEN is missing: .*\.$/],
      [["--root-key-file", rootKeyFile], { ZONEKEEPER_UPSTREAM_TOKEN: "x".repeat(40) }, /^ZONEKEEPER_UPSTREAM_TOKEN is no active API token: .*\.$/],
      [["--bogus"], {}, /^Unknown option '--bogus': npm run deploy knows .*\.$/],
    ];
    for (const [args, env, sentence] of cases) {
      const { code, output, writes } = await deploy(args, env);
      assert.equal(code, 1, output);
      assert.match(output.trimEnd().split("\n").at(-1), sentence);
      assert.deepEqual(writes, []);
    }
    assert.deepEqual(await readdir(dir), ["zonekeeper.deploy.toml"], "no key was written");
  });

  test("names what is wrong in zonekeeper.deploy.toml", LIMIT, async () => {
    const wrong = [
      ['route = "x"', /^zonekeeper.deploy.toml: route is not known there; .*\.$/],
      ['[vars]\nUPSTREAM_BASE_URL = "https://example.com"', /^zonekeeper.deploy.toml: vars.UPSTREAM_BASE_URL is not known there; .*\.$/],
      ['routes = [{ pattern = "*.example.com/*" }]', /^zonekeeper.deploy.toml: the pattern \*.example.com\/\* must begin with a whole host name .*\.$/],
      ["workers_dev = false", /^zonekeeper.deploy.toml: routes is empty and workers_dev is false, .*\.$/],
      ["name = ", /^zonekeeper.deploy.toml cannot be read: /],
    ];
    const file = path.join(dir, "zonekeeper.deploy.toml");
    for (const [text, sentence] of wrong) {
      await writeFile(file, text);
      await assert.rejects(readSettings(dir), { message: sentence });
    }
    await writeFile(file, wrong[0][0]);
    const { code, output, writes } = await deploy();
    await writeFile(file, SETTINGS);
    assert.equal(code, 1, output);
    assert.match(output.trimEnd(), wrong[0][1]);
    assert.deepEqual(writes, []);
  });

  test("--dry-run says what it would do and does none of it", LIMIT, async () => {
    const { code, output, writes } = await first(["--dry-run"]);
    assert.equal(code, 0, output);
    assert.deepEqual(writes, []);
    for (const line of [/^D1 database +zonekeeper would be made$/m, /^Secret +ROOT_KEY would be set$/m, /^Worker +zonekeeper would be deployed$/m]) {
      assert.match(output, line);
    }
    assert.deepEqual(await readdir(dir), ["zonekeeper.deploy.toml"], "no file was written");
  });

  test("the first run makes everything, and the Worker knows what is its own", LIMIT, async () => {
    const { code, output, writes } = await first();
    assert.equal(code, 0, output);
    const made = writes.filter(({ method, path: where }) => method === "POST" && /\/(database|namespaces|queues)$/.test(where));
    assert.deepEqual(
      made.map(({ body_base64 }) => JSON.parse(Buffer.from(body_base64, "base64"))),
      [{ name: "zonekeeper", primary_location_hint: "weur" }, { title: "zonekeeper-blobs" }, { queue_name: "zonekeeper-runs" }, { queue_name: "zonekeeper-dead" }],
    );
    const [database] = (await api("/d1/database?name=zonekeeper")).map(({ uuid }) => uuid);
    const namespace = (await api("/storage/kv/namespaces?per_page=100")).find(({ title }) => title === "zonekeeper-blobs").id;
    const queues = (await api("/queues")).filter(({ queue_name }) => queue_name.startsWith("zonekeeper-"));
    const { bindings } = metadata(writes.find(isUpload));
    const vars = Object.fromEntries(bindings.filter(({ type }) => type === "plain_text").map(({ name, text }) => [name, text]));
    assert.deepEqual(vars, {
      UPSTREAM_BASE_URL: "https://api.cloudflare.com/client/v4",
      ZONEKEEPER_LOCATION: "weur",
      OWN_ACCOUNT_ID: account,
      OWN_SCRIPT_NAME: "zonekeeper",
      OWN_D1_ID: database,
      OWN_D1_NAME: "zonekeeper",
      OWN_KV_ID: namespace,
      OWN_QUEUE_IDS: queues.map(({ queue_id }) => queue_id).join(","),
      OWN_HOSTNAMES: `${HOST},zonekeeper.acme.workers.dev`,
      ACCESS_TEAM_DOMAIN: "",
      ACCESS_AUD: "",
    });
    assert.equal(bindings.find(({ type }) => type === "d1").id, database);
    assert.equal(bindings.find(({ type }) => type === "kv_namespace").namespace_id, namespace);
    for (const { consumers } of queues) assert.deepEqual(consumers.map(({ script }) => script), ["zonekeeper"]);
    assert.deepEqual((await api("/workers/domains")).map(({ hostname, service }) => [hostname, service]), [[HOST, "zonekeeper"]]);
    assert.equal(writes.filter(({ path: where }) => where.includes("/secrets")).length, 0, "no version is without its secrets");

    const secrets = Object.fromEntries(bindings.filter(({ type }) => type === "secret_text").map(({ name, text }) => [name, text]));
    assert.deepEqual(Object.keys(secrets).sort(), [...MADE, "CLOUDFLARE_API_TOKEN"].sort());
    assert.equal(secrets.CLOUDFLARE_API_TOKEN, zk.sim.state.token);
    assert.equal((await stat(rootKeyFile)).mode & 0o777, 0o600);
    assert.equal(await readFile(rootKeyFile, "utf8"), `${secrets.ROOT_KEY}\n`);
    for (const [name, text] of Object.entries(secrets)) {
      assert.ok(text.length >= 40, name);
      assert.ok(!output.includes(text), `${name} is not shown`);
      assert.ok(!JSON.stringify(await generated()).includes(text), `${name} is in no file`);
    }
    assert.match(output, /^Grants +zonekeeper.toml applied \(version 1\)$/m);
  });

  test("a second run changes nothing: no write, the same version, the same configuration", LIMIT, async () => {
    const version = await liveVersion();
    const { code, output, writes } = await first();
    assert.equal(code, 0, output);
    assert.deepEqual(writes, []);
    assert.equal(await liveVersion(), version);
    assert.match(output, /^Worker +zonekeeper is this version already$/m);
    assert.match(output, /^Grants +zonekeeper.toml is in force already \(version 1\)$/m);
    assert.equal((await zk.api("GET", "/config")).result.version, 1);
  });

  test("what was undone by hand is put right, with nothing else made and no secret touched", LIMIT, async () => {
    await zk.sim.cf("PUT", `/accounts/${account}/workers/scripts/zonekeeper/schedules`, []);
    const { code, output, writes } = await deploy();
    assert.equal(code, 0, output);
    assert.deepEqual((await api("/workers/scripts/zonekeeper/schedules")).schedules.map(({ cron }) => cron), ["* * * * *"]);
    assert.deepEqual(writes.filter(({ method, path: where }) => method === "POST" && /\/(database|namespaces|queues)$/.test(where)), []);
    const types = writes.filter(isUpload).flatMap((write) => metadata(write).bindings.map(({ type }) => type));
    assert.ok(types.includes("d1") && !types.includes("secret_text") && !types.includes("plain_text"), types.join());
    const version = await api(`/workers/scripts/zonekeeper/versions/${await liveVersion()}`);
    const has = version.resources.bindings;
    assert.deepEqual(has.filter(({ type }) => type === "secret_text").map(({ name }) => name).sort(), [...MADE, "CLOUDFLARE_API_TOKEN"].sort());
    assert.equal(has.find(({ name }) => name === "OWN_SCRIPT_NAME").text, "zonekeeper", "vars were kept");
  });

  test("a setting that changed is deployed, with nothing else", LIMIT, async () => {
    const file = path.join(dir, "zonekeeper.deploy.toml");
    for (const location of ["eeur", "weur"]) {
      await writeFile(file, SETTINGS.replace("weur", location));
      const { code, output, writes } = await deploy();
      assert.equal(code, 0, output);
      const [{ bindings }, ...others] = writes.filter(isUpload).map(metadata);
      assert.deepEqual(others, []);
      assert.equal(bindings.find(({ name }) => name === "ZONEKEEPER_LOCATION").text, location);
      assert.deepEqual(bindings.filter(({ type }) => type === "secret_text"), []);
    }
  });

  test("a root key taken away on purpose stays away", LIMIT, async () => {
    await zk.sim.cf("DELETE", `/accounts/${account}/workers/scripts/zonekeeper/secrets/ROOT_KEY`);
    const { code, output, writes } = await deploy(["--dry-run"]);
    assert.equal(code, 0, output);
    assert.deepEqual(writes, []);
    assert.doesNotMatch(output, /ROOT_KEY/);
    const again = await first();
    assert.equal(again.code, 0, again.output);
    const sent = again.writes.filter(isUpload).flatMap((write) => metadata(write).bindings.filter(({ type }) => type === "secret_text"));
    assert.deepEqual(sent, [{ name: "ROOT_KEY", type: "secret_text", text: (await readFile(rootKeyFile, "utf8")).trim() }], "asked for by its file, the one in it");
  });

  test("what belongs to another Worker is not taken from it", LIMIT, async () => {
    await writeFile(path.join(dir, "zonekeeper.deploy.toml"), `name = "another"\n${SETTINGS}`);
    const { code, output, writes } = await first();
    await writeFile(path.join(dir, "zonekeeper.deploy.toml"), SETTINGS);
    assert.equal(code, 1, output);
    assert.match(output, /The host name zonekeeper\.example\.com belongs to the Worker zonekeeper: /);
    assert.deepEqual(writes, []);
  });

  test("a Worker that does not get ready is said, with what it last answered", LIMIT, async () => {
    const { code, output } = await deploy(["--wait", "1"], { ZONEKEEPER_URL: "http://127.0.0.1:1" });
    assert.equal(code, 1, output);
    assert.match(output.trimEnd().split("\n").at(-1), /^http:\/\/127.0.0.1:1\/readyz was not ready within 1 s \(.+\): .*\.$/);
  });
});

describe("through a running Zonekeeper, by a job of CI without any secret", () => {
  const issuer = () => `${zk.sim.url}/__sim/oidc/github`;
  const claims = { repository_id: "812345678", ref: "refs/heads/main" };

  /** The grants that docs/install.md shows, with these digests. */
  async function config(digests) {
    const text = await readFile(at("docs", "install.md"), "utf8");
    const [, shown] = /```toml\n# The repository[^\n]*\n([^]*?)```/.exec(text);
    return shown
      .replace("https://token.actions.githubusercontent.com", issuer())
      .replace('claims = { repository_id = "123456", ref = "refs/heads/main" }', `claims = { repository_id = "${claims.repository_id}", ref = "${claims.ref}" }`)
      .replace(/digests = \[[^\]]*\]/, `digests = ${JSON.stringify(digests)}`);
  }

  async function digests() {
    const files = ["index.js", "index_bg.wasm"].map((file) => readFile(path.join(at(RELEASE.out), file)));
    return (await Promise.all(files)).map((bytes) => createHash("sha256").update(bytes).digest("hex"));
  }

  async function key() {
    const order = { preset: "github", claims: { aud: AUDIENCE } };
    const { token } = (await send(zk.sim.url, { method: "POST", path: "/__sim/oidc/github/sign", body: order })).json;
    const body = {
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: token,
      subject_token_type: "urn:ietf:params:oauth:token-type:id_token",
    };
    const answer = await zk.request("POST", "/oauth/token", body, { key: null });
    assert.equal(answer.status, 200, answer.text);
    return answer.json.access_token;
  }

  const through = async (args = []) =>
    deploy(args, { CLOUDFLARE_API_BASE_URL: `${zk.url}/client/v4`, CLOUDFLARE_API_TOKEN: await key(), ZONEKEEPER_KEY: "" });

  before(async () => {
    // It runs with the vars it was deployed with, but for the address of the API.
    await zk.restart({ vars: { ...(await deployedVars()), UPSTREAM_BASE_URL: `${zk.sim.url}/client/v4`, LOCAL_QUEUE_TRIGGER: "on" } });
    await zk.apply(await config(await digests()));
  });

  /** What starts it. */
  async function started() {
    const { schedules } = await api("/workers/scripts/zonekeeper/schedules");
    const queues = (await api("/queues")).filter(({ queue_name }) => queue_name.startsWith("zonekeeper-"));
    return {
      crons: schedules.map(({ cron }) => cron),
      hosts: (await api("/workers/domains")).map(({ hostname }) => hostname),
      consumers: queues.flatMap(({ consumers }) => consumers.map(({ script }) => script)),
    };
  }

  async function deployedVars() {
    const { resources } = await api(`/workers/scripts/zonekeeper/versions/${await liveVersion()}`);
    return Object.fromEntries(resources.bindings.filter(({ type }) => type === "plain_text").map(({ name, text }) => [name, text]));
  }

  test("E7: the code whose digests are granted is deployed, and the audit log says by whom", LIMIT, async () => {
    const version = await liveVersion();
    const before = { vars: await deployedVars(), started: await started() };
    assert.deepEqual(before.started, { crons: ["* * * * *"], hosts: [HOST], consumers: ["zonekeeper", "zonekeeper"] });
    const { code, output, writes } = await through(["--force"]);
    assert.equal(code, 0, output);
    assert.equal(writes.filter(isUpload).length, 1);
    assert.notEqual(await liveVersion(), version);
    const entries = await zk.audit({ principal: "self-ci", limit: "100" });
    assert.deepEqual(entries.filter(({ decision }) => decision === "deny").map(({ sentence }) => sentence), []);
    // What was in place was not sent, and is still there.
    const { resources } = await api(`/workers/scripts/zonekeeper/versions/${await liveVersion()}`);
    assert.deepEqual(resources.bindings.map(({ name }) => name).sort(), [...Object.keys(before.vars), ...MADE, "BLOBS", "CLOUDFLARE_API_TOKEN", "DB", "JWKS", "RUNS", "ZONES"].sort());
    assert.deepEqual(await started(), before.started);
    const upload = entries.find(({ operation }) => operation === "worker-versions-upload-version");
    assert.match(upload.sentence, /^self-ci \(GitHub acme\/site@main, run 812 by ada\) .*zonekeeper.*; allowed by self-deploy\.$/);
  });

  test("E7: a second run writes nothing", LIMIT, async () => {
    const { code, output, writes } = await through();
    assert.equal(code, 0, output);
    assert.deepEqual(writes, []);
  });

  test("E7: a changed var is refused to that key before anything is changed", LIMIT, async () => {
    const file = path.join(dir, "zonekeeper.deploy.toml");
    await writeFile(file, SETTINGS.replace("weur", "eeur"));
    const { code, output, writes } = await through();
    await writeFile(file, SETTINGS);
    assert.equal(code, 1, output);
    assert.match(output, /self-ci may not upload a version of Worker zonekeeper in account Acme/);
    assert.deepEqual(writes, []);
  });

  test("E7: the same key cannot query its database, read its values, or touch its secrets", LIMIT, async () => {
    const ci = await key();
    const { d1_databases, kv_namespaces } = await generated();
    const [{ database_id: d1 }] = d1_databases;
    const [{ id: kv }] = kv_namespaces;
    const own = `/accounts/${account}/workers/scripts/zonekeeper`;
    const mark = await zk.sim.mark();
    const calls = [
      ["POST", `/accounts/${account}/d1/database/${d1}/query`, { sql: "SELECT 1" }],
      ["POST", `/accounts/${account}/d1/database/zonekeeper/raw`, { sql: "SELECT 1" }],
      ["POST", `/accounts/${account}/d1/database/${d1}/export`, { output_format: "polling" }],
      ["DELETE", `/accounts/${account}/d1/database/${d1}`],
      ["GET", `/accounts/${account}/storage/kv/namespaces/${kv}/keys`],
      ["GET", `/accounts/${account}/storage/kv/namespaces/${kv}/values/a`],
      ["PUT", `${own}/secrets`, { name: "ROOT_KEY", text: "r".repeat(40), type: "secret_text" }],
      ["DELETE", `${own}/secrets/KEY_PEPPER`],
      ["PATCH", `${own}/secrets-bulk`, { secrets: { ROOT_KEY: null } }],
      ["PATCH", `${own}/settings`, { bindings: [{ name: "UPSTREAM_BASE_URL", type: "plain_text", text: "https://attacker.example" }] }],
      ["DELETE", own],
      ["GET", `${own}/content/v2`],
    ];
    for (const [method, where, body] of calls) {
      const answer = await zk.cf(method, where, body, { key: ci });
      assert.equal(answer.status, 403, `${method} ${where}: ${answer.status} ${answer.text}`);
    }
    assert.deepEqual(await zk.sim.writes({ after: mark }), [], "nothing reached the API");
  });

  test("E7: an upload by that key sets no secret, no var and no other binding, and brings no other code", LIMIT, async () => {
    const ci = await key();
    const mark = await zk.sim.mark();
    const code = await readFile(path.join(at(RELEASE.out), "index.js"));
    const upload = (binding, text) => {
      const metadata = JSON.stringify({ main_module: "index.js", bindings: binding ? [binding] : [] });
      const part = (head, body) => Buffer.concat([Buffer.from(`--b\r\nContent-Disposition: form-data; ${head}\r\n\r\n`), Buffer.from(body), Buffer.from("\r\n")]);
      const file = Buffer.from(text ?? code);
      const body = Buffer.concat([
        part('name="metadata"', metadata),
        part('name="index.js"; filename="index.js"\r\nContent-Type: application/javascript+module', file),
        Buffer.from("--b--\r\n"),
      ]);
      const headers = { "content-type": "multipart/form-data; boundary=b" };
      return zk.cf("POST", `/accounts/${account}/workers/scripts/zonekeeper/versions`, body, { key: ci, headers });
    };
    const refused = [
      [{ type: "secret_text", name: "ROOT_KEY", text: "r".repeat(40) }],
      [{ type: "plain_text", name: "UPSTREAM_BASE_URL", text: "https://attacker.example" }],
      [{ type: "plain_text", name: "OWN_D1_ID", text: "" }],
      [{ type: "service", name: "S", service: "api" }],
      [undefined, "export default {}"],
    ];
    for (const [binding, text] of refused) {
      const answer = await upload(binding, text);
      assert.equal(answer.status, 403, `${JSON.stringify(binding)}: ${answer.status} ${answer.text}`);
    }
    assert.deepEqual(await zk.sim.writes({ after: mark }), [], "nothing reached the API");
    assert.equal((await upload(undefined)).status, 200, "the code that is granted passes");
  });

  test("E7: code whose digest is not granted is refused before anything is changed", LIMIT, async () => {
    await zk.apply(await config(["0".repeat(64)]));
    const version = await liveVersion();
    const { code, output, writes } = await through(["--force"]);
    assert.equal(code, 1, output);
    assert.match(output, /self-ci may not upload a version of Worker zonekeeper in account Acme/);
    assert.deepEqual(writes, []);
    assert.equal(await liveVersion(), version);
  });
});
