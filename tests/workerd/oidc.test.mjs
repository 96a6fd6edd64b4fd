// Tokens of issuers for keys, on the real runtime: its WebCrypto, its Durable Object, its store.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import http from "node:http";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { at } from "../../scripts/lib/paths.mjs";
import { COM } from "./lib/cases.mjs";
import { send } from "./lib/http.mjs";
import { Zonekeeper } from "./lib/zonekeeper.mjs";

const AUDIENCE = "https://zonekeeper.example.com";
const GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token";

let zk;
before(async () => {
  zk = await Zonekeeper.start({ workers: 2, egress: "guarded" });
  await zk.apply(config());
});
after(() => zk?.stop());

const issuer = (name) => `${zk.sim.url}/__sim/oidc/${name}`;

/** One principal for each issuer of the tests; `changes` are about the one of GitHub. */
function config(changes = {}) {
  const oidc = (name, at, claims) => ({ name, kind: "oidc", issuer: issuer(at), audience: AUDIENCE, claims });
  return {
    principals: [
      { ...oidc("site-ci", "github", { repository_id: "812345678", ref: "refs/heads/main" }), ...changes },
      oidc("lab-ci", "gitlab", { project_id: "20", ref: "main" }),
      ...["algs", "bad", "slow"].map((name) => oidc(`${name}-ci`, name, { sub: "someone" })),
    ],
    grants: [
      {
        name: "site-deploy",
        principals: ["site-ci", "lab-ci", "algs-ci", "bad-ci", "slow-ci"],
        effect: "allow",
        permissions: ["Zone Read", "Cache Purge"],
        zones: ["example.com"],
        purge: { prefixes: ["example.com/"] },
      },
    ],
  };
}

async function steer(name, action, body) {
  const answer = await send(zk.sim.url, { method: "POST", path: `/__sim/oidc/${name}/${action}`, body });
  assert.equal(answer.status, 200, answer.text);
  return answer.json;
}

/** A token of an issuer, as ordered. */
async function sign(name, { preset = name === "github" || name === "gitlab" ? name : "plain", claims = {}, ...order } = {}) {
  const { token } = await steer(name, "sign", { preset, claims: { aud: AUDIENCE, ...claims }, ...order });
  return token;
}

function exchange(token, { worker = 0, more = {} } = {}) {
  const body = { grant_type: GRANT, subject_token: token, subject_token_type: ID_TOKEN, ...more };
  return zk.request("POST", "/oauth/token", body, { key: null, worker });
}

/** The documents of an issuer that were fetched so far. */
async function fetches(name) {
  const answer = await send(zk.sim.url, { method: "GET", path: `/__sim/oidc/${name}/log` });
  const lines = answer.text.split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line).path.split("/").at(-1));
}

async function refused(token, status = 400) {
  const answer = await exchange(token);
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.json.access_token, undefined);
  assert.equal(answer.headers["cache-control"], "no-store");
  return answer.json;
}

test("a job of GitHub gets a key without any secret, and every entry says which job it was", async () => {
  const token = await sign("github");
  const answer = await exchange(token);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers["cache-control"], "no-store");
  const { access_token: key, ...rest } = answer.json;
  assert.deepEqual(rest, {
    issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
    token_type: "Bearer",
    expires_in: 900,
  });
  const purge = await zk.cf("POST", `/zones/${COM}/purge_cache`, { prefixes: ["example.com/news"] }, { key });
  assert.equal(purge.status, 200, purge.text);
  const behind = "GitHub acme/site@main, run 812 by ada";
  const [used, issued] = await zk.audit({ principal: "site-ci" });
  assert.match(used.sentence, /^site-ci \(GitHub acme\/site@main, run 812 by ada\) purged .*; allowed by site-deploy\.$/);
  assert.equal(used.credential, `key ${key.slice(0, 12)} for ${behind}`);
  assert.equal(issued.operation, "zonekeeper-token-exchange");
  assert.ok(issued.resources.includes("run_id:9000000812"), issued.resources);
  for (const secret of [token, key.slice(12)]) assert.deepEqual(await zk.filesContaining(secret), []);
});

test("a form is taken as well as JSON, and a GitLab token as well as GitHub's", async () => {
  const form = new URLSearchParams({ grant_type: GRANT, subject_token: await sign("gitlab"), subject_token_type: ID_TOKEN });
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const answer = await zk.request("POST", "/oauth/token", form.toString(), { key: null, headers });
  assert.equal(answer.status, 200, answer.text);
  const verify = await zk.cf("GET", "/user/tokens/verify", undefined, { key: answer.json.access_token });
  assert.equal(verify.status, 200, verify.text);
});

test("T2: the runtime checks signatures of all three algorithms, and tells bad ones", async () => {
  await steer("algs", "keys", ["RS256", "ES256", "EdDSA"].map((alg) => ({ kid: alg, alg })));
  for (const kid of ["RS256", "ES256", "EdDSA"]) {
    const good = await exchange(await sign("algs", { kid }));
    assert.equal(good.status, 200, `${kid}: ${good.text}`);
    for (const mutate of ["flip_signature", "alter_claims", "alter_header", "zero_signature", "short_signature"]) {
      await refused(await sign("algs", { kid, mutate }));
    }
  }
  for (const mutate of ["der_signature", "zero_r", "zero_s", "r_is_n", "s_is_n"]) await refused(await sign("algs", { kid: "ES256", mutate }));
  await refused(await sign("algs", { kid: "EdDSA", mutate: "noncanonical_s" }));
  for (const hmac_key of ["pem", "der", "jwk"]) {
    await refused(await sign("algs", { kid: "RS256", alg: "HS256", hmac_key }));
    await refused(await sign("algs", { kid: "RS256", alg: "HS256", hmac_key, header: { alg: "RS256" } }));
  }
  await refused(await sign("algs", { kid: "RS256", alg: "PS256", header: { alg: "RS256" } }));
  await refused(await sign("algs", { kid: "RS256", alg: "none", header: { alg: "none" } }));
});

test("T2: weak, wrong and doubled keys check nothing", async () => {
  await steer("bad", "keys", [
    { kid: "512", alg: "RS256", bits: 512 },
    { kid: "1024", alg: "RS256", bits: 1024 },
    { kid: "e1", alg: "RS256", e: 1 },
    { kid: "enc", alg: "RS256", raw_jwk: { use: "enc" } },
    { kid: "beside", alg: "ES256", raw_jwk: { y: "A".repeat(43) } },
    { kid: "twice", alg: "ES256" },
    { kid: "twice", alg: "ES256", duplicate: true },
    { kid: "good", alg: "ES256" },
  ]);
  for (const kid of ["512", "1024", "e1", "enc", "beside", "twice"]) await refused(await sign("bad", { kid }));
  const good = await exchange(await sign("bad", { kid: "good" }));
  assert.equal(good.status, 200, good.text);
});

test("U5: keys are fetched once for everybody, and nothing for an issuer nobody names", async () => {
  const tokens = await Promise.all(Array.from({ length: 10 }, () => sign("slow")));
  await zk.sim.faults([{ match: { path: "/__sim/oidc/slow/jwks" }, action: { delay_ms: 300 } }]);
  const answers = await Promise.all(tokens.map((token, index) => exchange(token, { worker: index % 2 })));
  await zk.sim.clearFaults();
  for (const answer of answers) assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(await fetches("slow"), ["openid-configuration", "jwks"]);
  for (const made of ["a", "b", "c"]) await refused(await sign("slow", { header: { kid: made } }));
  assert.equal((await fetches("slow")).length, 2, "not looked for again within a minute");

  await refused(await sign("unnamed"));
  await refused(await sign("github", { claims: { iss: "https://token.actions.githubusercontent.com/evil" } }));
  assert.deepEqual(await fetches("unnamed"), []);
  const strays = zk.logs.filter(({ message }) => /egress refused/.test(message));
  assert.deepEqual(strays, []);
});

test("T5: a token counts once, in whichever Worker and however often at once", async () => {
  const token = await sign("github");
  const answers = await Promise.all(Array.from({ length: 8 }, (_, index) => exchange(token, { worker: index % 2 })));
  const statuses = answers.map(({ status }) => status).sort();
  assert.deepEqual(statuses, [200, ...Array(7).fill(400)]);
  const [entry] = await zk.audit({ decision: "deny", operation: "zonekeeper-token-exchange" });
  assert.match(entry.sentence, /^Somebody \(a token of GitHub acme\/site@main, run 812 by ada\) asked to exchange a token/);
});

test("T6: tokens of other repositories, refs and events get nothing", async () => {
  for (const claims of [
    { repository_id: "1" },
    { ref: "refs/tags/main", ref_type: "tag" },
    { event_name: "pull_request_target" },
    { aud: "https://github.com/acme" },
  ]) {
    const { error } = await refused(await sign("github", { claims }));
    assert.equal(error, "invalid_request");
  }
});

test("a key ends within five seconds once other tokens are the principal's", async () => {
  const { access_token: key } = (await exchange(await sign("github"))).json;
  const call = (worker) => zk.cf("GET", `/zones/${COM}`, undefined, { key, worker });
  for (const worker of [0, 1]) assert.equal((await call(worker)).status, 200);
  await zk.apply(config({ claims: { repository_id: "812345678", ref: "refs/heads/release" } }));
  const since = Date.now();
  assert.equal((await call(0)).status, 401);
  while ((await call(1)).status !== 401) assert.ok(Date.now() - since < 6_500, "still let in");
  await zk.apply(config());
  assert.equal((await call(0)).status, 401, "for good");
});

test("the action for GitHub leaves what wrangler reads, and masks the key", async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-action-"));
  const env = path.join(folder, "env");
  // GitHub's own endpoint for tokens, as far as a job sees it.
  const seen = [];
  const github = http.createServer(async (request, response) => {
    const url = new URL(request.url, "http://x");
    seen.push([request.headers.authorization, url.searchParams.get("audience"), url.searchParams.get("api-version")]);
    response.end(JSON.stringify({ count: 1, value: await sign("github") }));
  });
  await new Promise((resolve) => github.listen(0, "127.0.0.1", resolve));
  try {
    const script = at(".github", "actions", "login", "login.sh");
    const { stdout } = await promisify(execFile)("bash", [script], {
      env: {
        PATH: process.env.PATH,
        ZONEKEEPER_URL: `${zk.url}/`,
        ZONEKEEPER_AUDIENCE: AUDIENCE,
        ZONEKEEPER_PRINCIPAL: "site-ci",
        ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${github.address().port}/token?api-version=2`,
        ACTIONS_ID_TOKEN_REQUEST_TOKEN: "job-token",
        GITHUB_ENV: env,
      },
    });
    assert.deepEqual(seen, [["Bearer job-token", AUDIENCE, "2"]]);
    const lines = (await readFile(env, "utf8")).trim().split("\n");
    const [, key] = /^CLOUDFLARE_API_TOKEN=([A-Za-z0-9_-]{40})$/.exec(lines[0]);
    assert.equal(lines[1], `CLOUDFLARE_API_BASE_URL=${zk.url}/client/v4`);
    assert.ok(stdout.includes(`::add-mask::${key}`));
    assert.equal((await zk.cf("GET", `/zones/${COM}`, undefined, { key })).status, 200);
    // What is refused ends the step with the reason.
    const failed = promisify(execFile)("bash", [script], {
      env: { PATH: process.env.PATH, ZONEKEEPER_URL: zk.url, ZONEKEEPER_AUDIENCE: AUDIENCE, GITHUB_ENV: env },
    });
    await assert.rejects(failed, /id-token: write/);
  } finally {
    github.close();
    await rm(folder, { recursive: true, force: true });
  }
});
