// A key that may write `_acme-challenge.**` TXT records of example.com, and everything its holder may try
// to reach something else with. None of it may change anything at the API.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { ACCOUNT, COM, NET, RECORDS, challenge, entriesAfter, newestEntry, raw, startWithKeys } from "./lib/cases.mjs";

let zk;
let keys;
/** Records of the zone: one that the key may write, one that it may not, and where they are. */
let own;
let foreign;

before(async () => {
  ({ zk, keys } = await startWithKeys(["acme-bot", "editor"]));
  own = await made(challenge("own"));
  foreign = await made({ type: "A", name: "target", content: "192.0.2.1", ttl: 300 });
});
after(() => zk?.stop());
// A burst of tries is not what is tested here.
beforeEach(() => zk.sim.limits(100_000, 300));

async function made(record) {
  const answer = await zk.sim.cf("POST", RECORDS, record);
  assert.equal(answer.status, 200, answer.text);
  return answer.result.id;
}

const TXT = { type: "TXT", name: "www.example.com", content: '"x"', ttl: 60 };
const GOOD = challenge("good");
const ABSENT = "0123456789abcdef0123456789abcdef";
const form = (file) => `--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n${file}\r\n--b--\r\n`;
const FORM = { "content-type": "multipart/form-data; boundary=b" };

/** `[what, method, path below /client/v4, body, headers]`; `OWN` and `FOREIGN` stand for record ids. */
const TRIES = [
  // Other records by id.
  ["rename a foreign record into reach", "PATCH", `${RECORDS}/FOREIGN`, { name: "_acme-challenge.x.example.com" }],
  ["change the content of a foreign record", "PATCH", `${RECORDS}/FOREIGN`, { content: "192.0.2.66" }],
  ["change nothing of a foreign record", "PATCH", `${RECORDS}/FOREIGN`, {}],
  ["replace a foreign record by an own one", "PUT", `${RECORDS}/FOREIGN`, GOOD],
  ["delete a foreign record", "DELETE", `${RECORDS}/FOREIGN`],
  ["delete with a body that names an own record", "DELETE", `${RECORDS}/FOREIGN`, { id: "OWN" }],
  ["rename an own record", "PATCH", `${RECORDS}/OWN`, { name: "www.example.com" }],
  ["rename an own record to the apex", "PATCH", `${RECORDS}/OWN`, { name: "@" }],
  ["rename an own record to a wildcard", "PATCH", `${RECORDS}/OWN`, { name: "*.example.com" }],
  ["change the type of an own record", "PATCH", `${RECORDS}/OWN`, { type: "CNAME", content: "evil.example" }],
  ["delegate below an own name", "PUT", `${RECORDS}/OWN`, { type: "NS", name: "_acme-challenge.own", content: "ns.evil.example" }],
  ["another id in the body", "PATCH", `${RECORDS}/FOREIGN`, { id: "OWN", content: "192.0.2.66" }],
  ["a key twice, with two meanings", "PATCH", `${RECORDS}/OWN`, '{"name":"_acme-challenge.own.example.com","name":"www.example.com"}'],
  ["a key twice, spelled differently", "PATCH", `${RECORDS}/OWN`, '{"name":"_acme-challenge.own.example.com","n\\u0061me":"www.example.com"}'],
  ["a form for a body", "PATCH", `${RECORDS}/OWN`, "name=www.example.com", { "content-type": "application/x-www-form-urlencoded" }],
  ["a body in UTF-7", "PATCH", `${RECORDS}/OWN`, '{"name":"www.example.com"}', { "content-type": "application/json; charset=utf-7" }],
  // New records.
  ["a record of another name", "POST", RECORDS, TXT],
  ["a record of another type", "POST", RECORDS, { ...GOOD, type: "CNAME", content: "evil.example" }],
  ["a name that only begins like its own", "POST", RECORDS, { ...TXT, name: "_acme-challenge-evil.example.com" }],
  ["a name below which its own stands", "POST", RECORDS, { ...TXT, name: "www._acme-challenge.example.com" }],
  ["a wildcard below its own name", "POST", RECORDS, { ...TXT, name: "*._acme-challenge.example.com" }],
  ["an absolute name of another zone", "POST", RECORDS, { ...TXT, name: "_acme-challenge.example.net." }],
  ["a name with a joiner in it", "POST", RECORDS, { ...TXT, name: "_acme-challenge\u200d.example.com" }],
  ["a name with a NUL in it", "POST", RECORDS, { ...TXT, name: "www\u0000_acme-challenge" }],
  ["another zone in the body", "POST", RECORDS, { ...GOOD, zone_id: NET }],
  ["another zone in the query", "POST", `${RECORDS}?zone_id=${NET}`, GOOD],
  ["another method in a header", "POST", RECORDS, TXT, { "x-http-method-override": "GET" }],
  ["another path in a header", "POST", RECORDS, TXT, { "x-original-url": `/client/v4${RECORDS}`, "x-rewrite-url": "/" }],
  // In bulk.
  ["a batch with one foreign record among its own", "POST", `${RECORDS}/batch`, { posts: [GOOD, TXT] }],
  ["a batch that deletes a foreign record", "POST", `${RECORDS}/batch`, { deletes: [{ id: "FOREIGN" }], posts: [GOOD] }],
  ["a batch that renames step by step", "POST", `${RECORDS}/batch`, { patches: [{ id: "OWN", name: "_acme-challenge.y" }, { id: "OWN", name: "www" }] }],
  ["a batch that replaces", "POST", `${RECORDS}/batch`, { puts: [{ id: "FOREIGN", ...GOOD }] }],
  ["a batch with a list twice", "POST", `${RECORDS}/batch`, `{"deletes":[],"deletes":[{"id":"${ABSENT}"}]}`],
  ["a batch with a path for an id", "POST", `${RECORDS}/batch`, { deletes: [{ id: `../../${NET}/dns_records` }] }],
  ["an import of a foreign record", "POST", `${RECORDS}/import`, form("_acme-challenge TXT x\nwww A 192.0.2.66"), FORM],
  ["an import with another origin", "POST", `${RECORDS}/import`, form("$ORIGIN example.com.\n@ TXT x"), FORM],
  ["an import that generates", "POST", `${RECORDS}/import`, form("$GENERATE 1-9 a$ A 192.0.2.$"), FORM],
  ["an import with two files", "POST", `${RECORDS}/import`, form("_acme-challenge TXT x").replace("--b--", "") + form("www TXT x"), FORM],
  ["a scan", "POST", `${RECORDS}/scan`, {}],
  ["what a scan found", "POST", `${RECORDS}/scan/review`, { accepts: [{ id: ABSENT }] }],
  // Other things.
  ["purge everything", "POST", `/zones/${COM}/purge_cache`, { purge_everything: true }],
  ["purge a file", "POST", `/zones/${COM}/purge_cache`, { files: ["https://example.com/"] }],
  ["a record of another zone", "POST", `/zones/${NET}/dns_records`, GOOD],
  ["its own record through another zone", "DELETE", `/zones/${NET}/dns_records/OWN`],
  ["delete the zone", "DELETE", `/zones/${COM}`],
  ["make a zone", "POST", "/zones", { name: "new.example", account: { id: ACCOUNT } }],
  ["pause the zone", "PATCH", `/zones/${COM}`, { paused: true }],
  ["a setting of the zone", "PATCH", `/zones/${COM}/settings/ssl`, { value: "off" }],
  ["DNS settings of the zone", "PATCH", `/zones/${COM}/dns_settings`, { nameservers: { type: "custom.account" } }],
  ["DNSSEC", "PATCH", `/zones/${COM}/dnssec`, { status: "disabled" }],
  ["a ruleset", "PUT", `/zones/${COM}/rulesets/phases/http_request_dynamic_redirect/entrypoint`, { rules: [] }],
  ["a page rule", "POST", `/zones/${COM}/pagerules`, { targets: [], actions: [] }],
  ["a Worker", "PUT", `/accounts/${ACCOUNT}/workers/scripts/evil`, "export default {}", { "content-type": "application/javascript" }],
  ["a Worker route", "POST", `/zones/${COM}/workers/routes`, { pattern: "example.com/*", script: "evil" }],
  ["a token", "POST", "/user/tokens", { name: "evil", policies: [] }],
  ["a token of the account", "POST", `/accounts/${ACCOUNT}/tokens`, { name: "evil", policies: [] }],
  ["a member", "POST", `/accounts/${ACCOUNT}/members`, { email: "evil@example.com", roles: [] }],
  ["GraphQL", "POST", "/graphql", { query: "{ viewer { zones { zoneTag } } }" }],
  ["an unknown path", "POST", `/zones/${COM}/dns_records_v2`, GOOD],
  ["an unknown path below its own", "POST", `${RECORDS}/OWN/history`, GOOD],
  ["secondary DNS", "POST", `/zones/${COM}/secondary_dns/force_axfr`, {}],
];

function filled(value) {
  return value?.replaceAll("OWN", own).replaceAll("FOREIGN", foreign);
}

describe("a key for challenges only", () => {
  assert.ok(TRIES.length >= 40);

  for (const [what, method, path, body, headers] of TRIES) {
    test(`E1 E2 E10 ${what}`, async () => {
      const mark = await zk.sim.mark();
      const newest = await newestEntry(zk);
      const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
      const type = text === undefined || headers?.["content-type"] ? {} : { "content-type": "application/json" };
      const options = { key: keys["acme-bot"], headers: { ...type, ...headers } };
      const answer = await zk.cf(method, filled(path), filled(text), options);
      assert.ok([400, 403].includes(answer.status), `${answer.status} ${answer.text}`);
      assert.ok(answer.code >= 20_001 && answer.code <= 20_022, answer.text);
      assert.deepEqual((await zk.sim.writes({ after: mark })).map((entry) => `${entry.method} ${entry.path}`), []);
      const entries = await entriesAfter(zk, newest);
      assert.deepEqual(entries.map(({ decision, status }) => [decision, status]), [["deny", answer.status]]);
    });
  }

  test("P1 P2 paths that lead elsewhere", async () => {
    const mark = await zk.sim.mark();
    for (const path of [`${RECORDS}/${own}/../${foreign}`, `${RECORDS}/%2e%2e/${foreign}`, `${RECORDS}//${foreign}`, `${RECORDS}/${own}%2f..%2f${foreign}`, `/Zones/${COM}/dns_records/${foreign}`]) {
      const answer = await raw(zk, "DELETE", `/client/v4${path}`, { key: keys["acme-bot"] });
      assert.ok([400, 403].includes(answer.status), `${path}: ${answer.status}`);
    }
    assert.deepEqual(await zk.sim.writes({ after: mark }), []);
  });

  test("and it still does what it is for", async () => {
    const options = { key: keys["acme-bot"] };
    const created = await zk.cf("POST", RECORDS, challenge("fresh"), options);
    assert.equal(created.status, 200, created.text);
    const changed = await zk.cf("PATCH", `${RECORDS}/${created.result.id}`, { content: '"new"' }, options);
    assert.equal(changed.result.content, '"new"');
    const batch = await zk.cf("POST", `${RECORDS}/batch`, { deletes: [{ id: created.result.id }], posts: [challenge("fresher")] }, options);
    assert.equal(batch.status, 200, batch.text);
    const imported = await zk.cf("POST", `${RECORDS}/import`, form("_acme-challenge.imported 60 TXT x"), { ...options, headers: FORM });
    assert.deepEqual(imported.result, { recs_added: 1, total_records_parsed: 1 });
    const exported = await zk.cf("GET", `${RECORDS}/export`, undefined, options);
    assert.match(exported.text, /^_acme-challenge\.imported\.example\.com\.\t/m);
    assert.doesNotMatch(exported.text, /target\.example\.com/);
    const listed = await zk.cf("GET", RECORDS, undefined, options);
    for (const { id } of listed.result) {
      const gone = await zk.cf("DELETE", `${RECORDS}/${id}`, undefined, options);
      assert.deepEqual(gone.result, { id });
    }
  });
});
