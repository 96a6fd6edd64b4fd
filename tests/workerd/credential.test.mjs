// What readyz says of the upstream token: one that could mint others, one that is broader than all grants.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Zonekeeper } from "./lib/zonekeeper.mjs";

const CONFIG = {
  principals: [{ name: "admin", kind: "key" }],
  grants: [{ name: "zones", principals: ["admin"], effect: "allow", permissions: ["Zone Write", "DNS Write"], zones: ["*"], accounts: ["*"] }],
};

let zk;
before(async () => {
  zk = await Zonekeeper.start({ config: CONFIG });
});
after(() => zk?.stop());

/** The warnings of an isolate that has not asked before. */
async function warnings() {
  await zk.kill9();
  await zk.restart();
  const answer = await zk.request("GET", "/readyz", undefined, { key: null });
  assert.equal(answer.status, 200, answer.text);
  return answer.json.warnings;
}

/** A call of the simulator's own API with the upstream token. */
async function upstream(method, path, body) {
  const headers = { authorization: `Bearer ${zk.sim.state.token}`, "content-type": "application/json" };
  const response = await fetch(`${zk.sim.url}/client/v4${path}`, { method, headers, body: body && JSON.stringify(body) });
  const { success, result, errors } = await response.json();
  assert.ok(success, JSON.stringify(errors));
  return result;
}

test("E11: whoever asks for readyz, and however often, Cloudflare is asked once", async () => {
  // The token may not read itself, so there is nothing to remember.
  await zk.sim.faults([{ match: { path: "/client/v4/user/tokens/verify" }, action: { status: 403, body: "{}" } }, { match: { path: `/client/v4/accounts/${zk.sim.state.accounts[0].id}/tokens/verify` }, action: { status: 403, body: "{}" } }]);
  const mark = await zk.sim.mark();
  assert.deepEqual(await warnings(), []);
  await Promise.all(Array.from({ length: 10 }, () => zk.request("GET", "/readyz", undefined, { key: null })));
  const asked = (await zk.sim.ledger({ after: mark })).map(({ path }) => path);
  assert.deepEqual([...new Set(asked)].length, asked.length, asked.join(" "));
  await zk.sim.clearFaults();
});

test("E5: readyz warns of a token that could mint others, and of one broader than all grants", async () => {
  assert.deepEqual(await warnings(), []);
  const { id } = await upstream("GET", "/user/tokens/verify");
  const token = await upstream("GET", `/user/tokens/${id}`);
  const groups = await upstream("GET", "/user/tokens/permission_groups");
  const named = (name) => ({ id: groups.find((group) => group.name === name).id });
  const give = (...names) => {
    const policies = [{ effect: "allow", resources: token.policies[0].resources, permission_groups: names.map(named) }];
    return upstream("PUT", `/user/tokens/${id}`, { name: token.name, status: "active", policies });
  };
  await give("Zone Write", "DNS Read", "API Tokens Write");
  const minting = await warnings();
  assert.equal(minting.length, 2, minting.join("; "));
  assert.match(minting[0], /can mint tokens/);
  await give("Zone Write", "Cache Purge");
  const broad = await warnings();
  assert.equal(broad.length, 1, broad.join("; "));
  assert.match(broad[0], /no grant gives anybody/);
  await give("Zone Read", "DNS Read");
  assert.deepEqual(await warnings(), []);
});
