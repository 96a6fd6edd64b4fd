// The configuration document: the one that is printed applies, a bad one says why and changes nothing.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { CONFIG, RECORDS, challenge } from "./lib/cases.mjs";
import { at } from "../../scripts/lib/paths.mjs";
import { Zonekeeper } from "./lib/zonekeeper.mjs";

let zk;
let shipped;
before(async () => {
  shipped = await readFile(at("zonekeeper.toml"), "utf8");
  zk = await Zonekeeper.start();
});
after(() => zk?.stop());

const TOML = { "content-type": "application/toml" };
const JSON_TYPE = { "content-type": "application/json" };

async function current() {
  return (await zk.api("GET", "/config")).result;
}

describe("zonekeeper.toml as shipped", () => {
  test("is planned, applied, and planned again without a change", async () => {
    const planned = await zk.api("POST", "/config/plan", shipped, { headers: TOML });
    assert.equal(planned.status, 200, planned.text);
    assert.ok(planned.result.changes.length >= 6);
    for (const change of planned.result.changes) {
      assert.equal(change.action, "create", JSON.stringify(change));
      assert.ok(change.kind && change.name && change.after);
    }
    const { version } = await zk.apply(shipped);
    const again = await zk.api("POST", "/config/plan", shipped, { headers: TOML });
    assert.deepEqual(again.result, { version, changes: [] });
  });

  test("comes back as the text that was applied, and as JSON that applies to the same", async () => {
    const toml = await zk.api("GET", "/config", undefined, { headers: { accept: "application/toml" } });
    assert.equal(toml.text, shipped);
    const { version, document } = await current();
    const { version: next, changes } = await zk.apply(document);
    assert.deepEqual(changes, []);
    assert.ok(next >= version);
  });

  test("says what could be safer in it", async () => {
    const answer = await zk.api("POST", "/config/plan", shipped, { headers: TOML });
    assert.ok(answer.messages.length > 0, answer.text);
    for (const { message } of answer.messages) assert.match(message ?? "", /\S/);
  });
});

describe("versions", () => {
  test("expected_version guards against a lost update", async () => {
    const { version, document } = await current();
    const stale = await zk.api("PUT", `/config?expected_version=${version - 1}`, document);
    assert.deepEqual([stale.status, stale.code], [412, 20030], stale.text);
    assert.equal((await current()).version, version);
    const { version: next } = await zk.apply({ ...document, grants: document.grants.slice(1) }, { query: `?expected_version=${version}` });
    assert.equal(next, version + 1);
    const odd = await zk.api("PUT", "/config?expected_version=two", document);
    assert.deepEqual([odd.status, odd.code], [400, 20032]);
  });

  test("of two applies at once with the same expected version one wins", async () => {
    const { version, document } = await current();
    const variants = [1, 2].map((n) => ({ ...document, principals: [...document.principals, { name: `racer-${n}`, kind: "key" }] }));
    const answers = await Promise.all(variants.map((variant) => zk.api("PUT", `/config?expected_version=${version}`, variant)));
    assert.deepEqual(answers.map(({ status }) => status).toSorted(), [200, 412]);
    assert.equal((await current()).version, version + 1);
  });

  test("removing a principal ends its keys for good", async () => {
    await zk.apply(CONFIG);
    const { key } = await zk.mint("acme-bot");
    const without = {
      principals: CONFIG.principals.filter(({ name }) => name !== "acme-bot"),
      grants: CONFIG.grants.filter(({ principals }) => !principals.includes("acme-bot")),
    };
    await zk.apply(without);
    assert.equal((await zk.cf("GET", "/zones", undefined, { key })).status, 401);
    await zk.apply(CONFIG);
    assert.equal((await zk.cf("GET", "/zones", undefined, { key })).status, 401);
    const { key: fresh } = await zk.mint("acme-bot");
    assert.equal((await zk.cf("POST", RECORDS, challenge("fresh"), { key: fresh })).status, 200);
  });
});

describe("a bad document answers with its problem and changes nothing", () => {
  const principal = '[[principals]]\nname = "a"\nkind = "key"\n';
  const grant = (lines) => `${principal}[[grants]]\nname = "g"\nprincipals = ["a"]\neffect = "allow"\n${lines}\n`;
  const cases = {
    "malformed TOML, with its line": [`${principal}[[grants\n`, 400, 20031, /line 4/],
    "malformed JSON, with its line": ["{\n  oops\n}", 400, 20031, /line 2/, JSON_TYPE],
    "an unknown key, with line and name": [`${principal}colour = "red"\n`, 400, 20031, /line 4, principals\[0\]\.colour: /],
    "a string where a list belongs": [grant('permissions = "DNS Write"'), 400, 20031, /line 8, grants\[0\]\.permissions: /],
    "a number where a string belongs": ['[[principals]]\nname = 7\nkind = "key"\n', 400, 20031, /line 2, principals\[0\]\.name: /],
    "an effect that is none": [principal + '[[grants]]\nname = "g"\nprincipals = ["a"]\neffect = "maybe"\n', 400, 20031, /line 7, grants\[0\]\.effect: /],
    "a key set twice": ['[[principals]]\nname = "a"\nname = "b"\nkind = "key"\n', 400, 20004, /line 3/],
    "a JSON key set twice": ['{"grants":[],"grants":[]}', 400, 20004, /grants/, JSON_TYPE],
    "an unknown permission group, with the nearest known": [grant('permissions = ["DNS Wriet"]\nzones = ["example.com"]'), 400, 20031, /DNS Wriet.*DNS Write/],
    "a zone that does not exist": [grant('permissions = ["DNS Write"]\nzones = ["example.invalid"]'), 400, 20031, /line 9, grants\[0\]\.zones\[0\]: .*example\.invalid/],
    "an account that does not exist": [grant('permissions = ["D1 Read"]\naccounts = ["Initech"]'), 400, 20031, /grants\[0\]\.accounts\[0\]: .*Initech/],
    "a grant for nobody": [grant("").replace('["a"]', '["b"]'), 400, 20031, /grants\[0\]\.principals\[0\]: .*b/],
    "a star inside a label": [grant('permissions = ["DNS Write"]\nzones = ["example.com"]\ndns = { names = ["a*.example.com"] }'), 400, 20031, /grants\[0\]\.dns\.names\[0\]: /],
    "a principal named twice": [principal + principal, 400, 20031, /principals\[1\]/],
    "another content type": ["a=1", 400, 20032, /application\/toml/, { "content-type": "text/plain" }],
    "not UTF-8": [Buffer.from([0x23, 0xff, 0xfe]), 400, 20003, /UTF-8/],
    "nested deeper than 32": [`${'{"a":'.repeat(33)}1${"}".repeat(33)}`, 400, 20003, /nested deeper than 32/, JSON_TYPE],
    "nested deeper than 32, in TOML": [`a = ${"[".repeat(40)}${"]".repeat(40)}\n`, 400, 20003, /nested deeper than 32/],
    "over 1 MiB": [`# ${"x".repeat(1024 * 1024)}\n`, 413, 20005, /1048576|1 MiB/],
  };
  for (const [what, [body, status, code, message, headers = TOML]] of Object.entries(cases)) {
    test(what, async () => {
      const before = await current();
      const mark = await zk.sim.mark();
      for (const [method, path] of [["PUT", "/config"], ["POST", "/config/plan"]]) {
        const answer = await zk.api(method, path, body, { headers });
        assert.deepEqual([answer.status, answer.code], [status, code], answer.text);
        assert.match(answer.errors[0].message, message);
        for (const { message: text } of answer.errors) assert.match(text, /^[^\n]+[.!]$/, "each problem is one sentence");
      }
      assert.deepEqual(await current(), before);
      assert.deepEqual(await zk.sim.writes({ after: mark }), []);
    });
  }

  test("several problems are all named", async () => {
    const answer = await zk.api("PUT", "/config", grant('permissions = ["Nope", "Neither"]\nzones = ["example.com"]'), { headers: TOML });
    assert.equal(answer.status, 400);
    assert.equal(answer.errors.length, 2, answer.text);
  });

  test("two credentials", async () => {
    const before = await current();
    const answer = await zk.api("PUT", "/config", CONFIG, { headers: { "x-auth-key": zk.rootKey } });
    assert.deepEqual([answer.status, answer.code], [400, 20002]);
    const none = await zk.api("PUT", "/config", CONFIG, { key: null });
    assert.deepEqual([none.status, none.code], [401, 20010]);
    assert.deepEqual(await current(), before);
  });

  test("a Cloudflare that cannot be asked for the names", async () => {
    const before = await current();
    await zk.sim.faults([{ match: { path: "*/zones*" }, action: { status: 503 } }]);
    const answer = await zk.api("PUT", "/config", shipped, { headers: TOML });
    await zk.sim.clearFaults();
    assert.ok(answer.status >= 500 && answer.success === false, answer.text);
    assert.deepEqual(await current(), before);
  });
});

test("keys: minted once, listed without the key, rolled with an overlap, never for a principal without keys", async () => {
  await zk.apply(CONFIG);
  const minted = await zk.mint("editor", { note: "laptop", expires_on: new Date(Date.now() + 3_600_000).toISOString() });
  assert.match(minted.key, /^[A-Za-z0-9_-]{40}$/);
  assert.equal(minted.key.slice(0, 12), minted.id);
  const legacy = await zk.mint("editor", { legacy: true });
  assert.match(legacy.key, /^[0-9a-f]{40}$/);
  const list = await zk.api("GET", "/principals/editor/keys");
  assert.ok(list.result.some(({ id, note, status }) => id === minted.id && note === "laptop" && status === "active"), list.text);
  for (const { key } of [minted, legacy]) assert.ok(!list.text.includes(key.slice(12)));
  const rolled = await zk.api("POST", `/principals/editor/keys/${minted.id}/roll`, { overlap_secs: 600 });
  assert.equal(rolled.status, 200, rolled.text);
  for (const key of [minted.key, rolled.result.key]) assert.equal((await zk.cf("GET", "/zones", undefined, { key })).status, 200);
  const hard = await zk.api("POST", `/principals/editor/keys/${rolled.result.id}/roll`, {});
  assert.equal((await zk.cf("GET", "/zones", undefined, { key: rolled.result.key })).status, 401);
  assert.equal((await zk.cf("GET", "/zones", undefined, { key: hard.result.key })).status, 200);
  for (const [path, body, status] of [
    ["/principals/nobody/keys", {}, 404],
    ["/principals/editor/keys", { colour: "red" }, 400],
    ["/principals/editor/keys", { expires_on: "2020-01-01T00:00:00Z" }, 400],
    ["/principals/editor/keys/nosuchkey123/roll", {}, 404],
  ]) {
    assert.equal((await zk.api("POST", path, body)).status, status, path);
  }
});

test("decide answers as the gateway would, and asks nobody", async () => {
  await zk.apply(CONFIG);
  const mark = await zk.sim.mark();
  const ask = (extra) => zk.api("POST", "/decide", { principal: "acme-bot", method: "POST", path: `/client/v4${RECORDS}`, body: challenge("x"), ...extra });
  const allowed = await ask({});
  assert.equal(allowed.status, 200, allowed.text);
  assert.deepEqual([allowed.result.decision, allowed.result.grant, allowed.result.operation], ["allow", "acme-challenges", "dns-records-for-a-zone-create-dns-record"]);
  const denied = await ask({ body: { type: "A", name: "x", content: "192.0.2.1" } });
  assert.equal(denied.result.decision, "deny");
  assert.match(denied.result.reason, /acme-bot/);
  for (const [source_ip, decision] of [["203.0.113.9", "allow"], ["198.51.100.9", "deny"], [undefined, "deny"]]) {
    const office = await ask({ principal: "office", method: "GET", body: undefined, source_ip });
    assert.deepEqual([office.result.decision, office.result.operation], [decision, "dns-records-for-a-zone-list-dns-records"]);
  }
  assert.deepEqual(await zk.sim.ledger({ after: mark }), []);
});
