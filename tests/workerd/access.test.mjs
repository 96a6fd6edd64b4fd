// People who sign in by Cloudflare Access, and the root key switched off, on the real runtime.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { send } from "./lib/http.mjs";
import { Zonekeeper } from "./lib/zonekeeper.mjs";
import { COM } from "./lib/cases.mjs";

/** The audience tag of the simulator's Access application. */
const AUD = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2";

const CONFIG = {
  principals: [
    { name: "ops", kind: "access", emails: ["ada@acme.test"] },
    { name: "auditors", kind: "access", groups: ["audit"] },
  ],
  grants: [
    { name: "configure", principals: ["ops"], effect: "allow", permissions: ["Zonekeeper Config Write"] },
    { name: "read-audit", principals: ["auditors"], effect: "allow", permissions: ["Zonekeeper Audit Read"] },
  ],
};

let zk;
before(async () => {
  zk = await Zonekeeper.start();
  // The team domain is the simulator's, which is only known now.
  await zk.restart({ vars: { ...(await vars()), ACCESS_TEAM_DOMAIN: zk.sim.url, ACCESS_AUD: AUD } });
  await zk.apply(CONFIG);
});
after(() => zk?.stop());

async function vars() {
  const { ownResources } = await import("../../scripts/lib/simulator.mjs");
  return { UPSTREAM_BASE_URL: `${zk.sim.url}/client/v4`, LOCAL_QUEUE_TRIGGER: "on", ...ownResources(zk.sim.state) };
}

async function login(order = {}) {
  const body = { preset: "access", ...order };
  const answer = await send(zk.sim.url, { method: "POST", path: "/__sim/access/sign", body });
  assert.equal(answer.status, 200, answer.text);
  return answer.json.token;
}

const withLogin = (method, path, token, { body, headers = {} } = {}) =>
  zk.api(method, path, body, { key: null, headers: { "cf-access-jwt-assertion": token, ...headers } });

test("a person is let in and is on record by name", async () => {
  const token = await login();
  const whoami = await withLogin("GET", "/whoami", token);
  assert.deepEqual(whoami.result, { principal: "ops", credential: "Access login of ada@acme.test" }, whoami.text);
  const cookie = await zk.api("GET", "/config", undefined, { key: null, headers: { cookie: `CF_Authorization=${token}` } });
  assert.equal(cookie.status, 200, cookie.text);
  const group = await login({ claims: { email: "eve@acme.test", custom: { groups: ["audit"] } } });
  assert.equal((await withLogin("GET", "/audit", group)).status, 200);
  assert.equal((await withLogin("GET", "/config", group)).status, 403);
});

test("H3: a forged login, or two different ones, lets nobody in", async () => {
  for (const order of [
    { mutate: "flip_signature" },
    { alg: "none", header: { alg: "none" } },
    { claims: { aud: ["0".repeat(64)] } },
    { claims: { iss: "https://evil.cloudflareaccess.com" } },
    { claims: { email: "mallory@acme.test", custom: {} } },
    { preset: "access_service_token" },
  ]) {
    const answer = await withLogin("GET", "/config", await login(order));
    assert.deepEqual([answer.status, answer.code], [401, 20011], JSON.stringify(order));
  }
  const [one, other] = [await login(), await login({ claims: { country: "DE" } })];
  const both = await withLogin("GET", "/config", one, { headers: { cookie: `CF_Authorization=${other}` } });
  assert.deepEqual([both.status, both.code], [400, 20002]);
  const proxied = await zk.cf("GET", `/zones/${COM}`, undefined, { key: null, headers: { "cf-access-jwt-assertion": one } });
  assert.deepEqual([proxied.status, proxied.code], [401, 20010]);
  const exchanged = await zk.request(
    "POST",
    "/oauth/token",
    { grant_type: "urn:ietf:params:oauth:grant-type:token-exchange", subject_token: one, subject_token_type: "urn:ietf:params:oauth:token-type:jwt" },
    { key: null },
  );
  assert.equal(exchanged.status, 400, exchanged.text);
});

test("D4: a page of another site changes nothing", async () => {
  const token = await login();
  const put = (headers) => withLogin("PUT", "/config", token, { body: CONFIG, headers });
  for (const headers of [{}, { "sec-fetch-site": "cross-site" }, { "sec-fetch-site": "same-site", "zonekeeper-request": "1" }]) {
    const answer = await put(headers);
    assert.deepEqual([answer.status, answer.code], [403, 20020], answer.text);
  }
  assert.equal((await put({ "sec-fetch-site": "same-origin" })).status, 200);
  assert.equal((await put({ "zonekeeper-request": "1" })).status, 200);
});

test("the root key is switched off by whoever can do without it, and by nobody else", async () => {
  const off = { ...CONFIG, root: { enabled: false } };
  const alone = await zk.api("PUT", "/config", { root: { enabled: false } });
  assert.deepEqual([alone.status, alone.code], [400, 20031], alone.text);
  const token = await login();
  const headers = { "zonekeeper-request": "1" };
  assert.equal((await withLogin("PUT", "/config", token, { body: off, headers })).status, 200);
  const root = await zk.api("GET", "/config");
  assert.deepEqual([root.status, root.code], [401, 20011]);
  assert.equal((await withLogin("PUT", "/config", token, { body: CONFIG, headers })).status, 200);
  assert.equal((await zk.api("GET", "/config")).status, 200);
});
