// The main flow through the gateway: who may do what, what goes upstream and what comes back.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { COM, NET, RECORDS, bodyOf, challenge, headersOf, outcomeOf, raw, refused, startWithKeys } from "./lib/cases.mjs";

let zk;
let keys;
/** Every answer of this file, for the search for secrets at its end. */
const answers = [];

before(async () => {
  ({ zk, keys } = await startWithKeys());
  for (const door of ["request", "raw"]) {
    const send = zk[door].bind(zk);
    zk[door] = async (...args) => {
      const answer = await send(...args);
      answers.push(`${JSON.stringify(answer.rawHeaders)}\n${answer.text}`);
      return answer;
    };
  }
});
after(() => zk?.stop());

/** What reached the API since `mark`. */
async function since(mark) {
  return zk.sim.ledger({ after: mark });
}

describe("a key that may write challenges", () => {
  test("creates a TXT record, on record from intent to outcome", async () => {
    const mark = await zk.sim.mark();
    const answer = await zk.cf("POST", RECORDS, challenge("www"), { key: keys["acme-bot"] });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.result.name, "_acme-challenge.www.example.com");
    const [sent, ...others] = await since(mark);
    assert.deepEqual(others, []);
    assert.deepEqual([sent.method, sent.path], ["POST", `/client/v4${RECORDS}`]);
    const headers = headersOf(sent);
    assert.equal(headers.authorization, `Bearer ${zk.sim.state.token}`);
    assert.equal(JSON.parse(bodyOf(sent)).content, '"proof of www"');
    const entry = await outcomeOf(zk, { principal: "acme-bot" });
    assert.equal(entry.outcome, "confirmed");
    assert.equal(entry.decision, "allow");
    assert.equal(entry.grant, "acme-challenges");
    assert.equal(entry.status, 200);
    assert.equal(entry.operation, "dns-records-for-a-zone-create-dns-record");
    assert.deepEqual(entry.resources, [`zone:${COM}`]);
    assert.equal(entry.upstream_calls, 1);
    assert.ok(entry.cf_ray, JSON.stringify(entry));
    assert.match(entry.sentence, /^acme-bot created TXT record _acme-challenge\.www\.example\.com in example\.com; allowed by acme-challenges\.$/);
  });

  test("may not create an A record, and the refusal names principal, operation and rule", async () => {
    const body = { type: "A", name: "_acme-challenge.www.example.com", content: "192.0.2.1", ttl: 60 };
    const { answer, entry } = await refused(zk, () => zk.cf("POST", RECORDS, body, { key: keys["acme-bot"] }), { status: 403, code: 20020 });
    const { message, documentation_url } = answer.errors[0];
    assert.match(message, /acme-bot/);
    assert.match(message, /create A record _acme-challenge\.www\.example\.com|dns-records-for-a-zone-create-dns-record/);
    assert.match(message, /acme-challenges/);
    assert.match(message, /^[^{}]*\.$/, "one sentence without braces");
    assert.equal(documentation_url, `${zk.url}/errors#denied`);
    assert.equal(entry.principal, "acme-bot");
    assert.equal((await zk.request("GET", "/errors", undefined, { key: null })).text.includes('id="denied"'), true);
  });

  for (const [what, path, body] of [
    ["a TXT record of another name", RECORDS, { type: "TXT", name: "www.example.com", content: '"x"' }],
    ["a record whose challenge label is not the first", RECORDS, { type: "TXT", name: "www._acme-challenge.example.com", content: '"x"' }],
    ["a record of another zone", `/zones/${NET}/dns_records`, challenge("www")],
  ]) {
    test(`may not create ${what}`, async () => {
      const mark = await zk.sim.mark();
      const answer = await zk.cf("POST", path, body, { key: keys["acme-bot"] });
      assert.ok([400, 403].includes(answer.status), answer.text);
      assert.deepEqual(await since(mark), []);
    });
  }

  test("finds its zone and no other", async () => {
    const list = await zk.cf("GET", "/zones", undefined, { key: keys["acme-bot"] });
    assert.deepEqual(list.result.map((zone) => zone.name), ["example.com"]);
    assert.deepEqual(list.result_info, { page: 1, per_page: 20, count: 1, total_count: 1, total_pages: 1 });
    const absent = await zk.cf("GET", "/zones?name=example.net", undefined, { key: keys["acme-bot"] });
    assert.deepEqual([absent.status, absent.result, absent.result_info.total_count], [200, [], 0]);
    const past = await zk.cf("GET", "/zones?page=2", undefined, { key: keys["acme-bot"] });
    assert.deepEqual([past.status, past.result], [200, []]);
    const own = await zk.cf("GET", `/zones/${COM}`, undefined, { key: keys["acme-bot"] });
    assert.equal(own.result.name, "example.com");
    await refused(zk, () => zk.cf("GET", `/zones/${NET}`, undefined, { key: keys["acme-bot"] }), { status: 403, code: 20020 });
  });

  test("sees the records it may write, in pages that add up", async () => {
    for (const label of ["a", "b", "c"]) {
      const made = await zk.cf("POST", RECORDS, challenge(`page-${label}`), { key: keys["acme-bot"] });
      assert.equal(made.status, 200, made.text);
    }
    const seen = [];
    for (let page = 1; ; page += 1) {
      const answer = await zk.cf("GET", `${RECORDS}?per_page=2&page=${page}`, undefined, { key: keys["acme-bot"] });
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.result_info.count, answer.result.length);
      if (answer.result.length === 0) break;
      seen.push(...answer.result);
      assert.equal(answer.result_info.total_pages, Math.ceil(answer.result_info.total_count / 2));
    }
    assert.ok(seen.length >= 3);
    for (const { name, type } of seen) assert.ok(name.startsWith("_acme-challenge.") && type === "TXT", `${type} ${name}`);
    assert.equal(new Set(seen.map(({ id }) => id)).size, seen.length);
  });

  test("reads its own record by id and no other", async () => {
    const all = (await zk.sim.cf("GET", `${RECORDS}?per_page=100`)).result;
    const mine = all.find(({ name }) => name.startsWith("_acme-challenge."));
    const foreign = all.find(({ type }) => type === "A");
    const answer = await zk.cf("GET", `${RECORDS}/${mine.id}`, undefined, { key: keys["acme-bot"] });
    assert.equal(answer.result.id, mine.id);
    const denied = await zk.cf("GET", `${RECORDS}/${foreign.id}`, undefined, { key: keys["acme-bot"] });
    assert.deepEqual([denied.status, denied.code], [403, 20020], denied.text);
    assert.ok(!denied.text.includes(foreign.content));
  });

  test("is told about itself, not about the upstream token", async () => {
    const verify = await zk.cf("GET", "/user/tokens/verify", undefined, { key: keys["acme-bot"] });
    assert.equal(verify.result.status, "active");
    assert.match((await zk.cf("GET", "/user", undefined, { key: keys["acme-bot"] })).result.email, /^acme-bot@/);
    const accounts = await zk.cf("GET", "/accounts", undefined, { key: keys["acme-bot"] });
    assert.equal(accounts.status, 200, accounts.text);
    assert.ok(!accounts.text.includes("Globex"));
  });
});

describe("what real clients send", () => {
  test("both header forms of a credential, neither of which goes upstream", async () => {
    for (const headers of [
      { "x-auth-key": keys.editor, "x-auth-email": "anybody@example.com" },
      { "x-auth-key": keys.editor },
      { authorization: `bearer ${keys.editor}` },
    ]) {
      const mark = await zk.sim.mark();
      const answer = await zk.cf("GET", RECORDS, undefined, { key: null, headers });
      assert.equal(answer.status, 200, answer.text);
      const sent = headersOf((await since(mark))[0]);
      assert.equal(sent.authorization, `Bearer ${zk.sim.state.token}`);
      assert.equal(sent["x-auth-key"], undefined);
      assert.equal(sent["x-auth-email"], undefined);
    }
  });

  test("/zones/ for /zones, with and without a query", async () => {
    for (const path of ["/zones/", "/zones/?name=example.com"]) {
      const answer = await zk.cf("GET", path, undefined, { key: keys.editor });
      assert.deepEqual(answer.result.map((zone) => zone.name), ["example.com"], answer.text);
    }
  });

  test("HEAD, answered as its GET without a body", async () => {
    const mark = await zk.sim.mark();
    const head = await zk.cf("HEAD", RECORDS, undefined, { key: keys.editor });
    assert.deepEqual([head.status, head.text], [200, ""]);
    assert.match(head.headers["content-type"], /json/);
    assert.deepEqual((await since(mark)).map(({ method }) => method), ["GET"]);
    await refusedHead();
    async function refusedHead() {
      const denied = await zk.cf("HEAD", `/zones/${NET}`, undefined, { key: keys.editor });
      assert.deepEqual([denied.status, denied.text], [403, ""]);
    }
  });

  test("J5: GET and HEAD with a body, which is dropped", async () => {
    for (const method of ["GET", "HEAD"]) {
      const mark = await zk.sim.mark();
      const answer = await raw(zk, method, `/client/v4${RECORDS}`, { key: keys.editor, headers: ["Content-Type: application/json"], body: "{}" });
      assert.equal(answer.status, 200, answer.text);
      const [sent] = await since(mark);
      assert.equal(sent.method, "GET");
      assert.equal(bodyOf(sent), "");
    }
  });

  test("J5: DELETE with {} and without a body", async () => {
    for (const body of ["{}", undefined]) {
      const made = await zk.sim.cf("POST", RECORDS, { type: "A", name: "doomed", content: "192.0.2.9" });
      const mark = await zk.sim.mark();
      const answer = await zk.cf("DELETE", `${RECORDS}/${made.result.id}`, body, { key: keys.editor, headers: body ? { "content-type": "application/json" } : {} });
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(answer.result, { id: made.result.id });
      // The record is looked up first: the zone holds a host name of the gateway's own.
      const [, sent] = await since(mark);
      assert.deepEqual([sent.method, bodyOf(sent)], ["DELETE", body ?? ""]);
    }
  });

  test("a gzip body where the body is judged", async () => {
    const mark = await zk.sim.mark();
    const body = gzipSync(JSON.stringify(challenge("gzip")));
    const headers = { "content-type": "application/json", "content-encoding": "gzip" };
    const answer = await zk.cf("POST", RECORDS, body, { key: keys["acme-bot"], headers });
    assert.equal(answer.status, 200, answer.text);
    const [sent] = await since(mark);
    assert.equal(headersOf(sent)["content-encoding"], undefined);
    assert.equal(JSON.parse(bodyOf(sent)).name, "_acme-challenge.gzip.example.com");
    const forbidden = gzipSync(JSON.stringify({ ...challenge("gzip"), type: "A", content: "192.0.2.1" }));
    await refused(zk, () => zk.cf("POST", RECORDS, forbidden, { key: keys["acme-bot"], headers }), { status: 403, code: 20020 });
  });

  test("JSON as text/plain, and without a type", async () => {
    for (const [label, headers] of [["plain", { "content-type": "text/plain;charset=UTF-8" }], ["untyped", {}]]) {
      const mark = await zk.sim.mark();
      const answer = await zk.cf("POST", RECORDS, JSON.stringify(challenge(label)), { key: keys["acme-bot"], headers });
      assert.equal(answer.status, 200, answer.text);
      assert.equal(headersOf((await since(mark))[0])["content-type"], "application/json");
    }
  });

  test("a chunked body", async () => {
    const text = JSON.stringify(challenge("chunked"));
    const half = Math.floor(text.length / 2);
    const chunks = [text.slice(0, half), text.slice(half), ""].map((part) => `${part.length.toString(16)}\r\n${part}\r\n`);
    const answer = await raw(zk, "POST", `/client/v4${RECORDS}`, {
      key: keys["acme-bot"],
      headers: ["Content-Type: application/json", "Transfer-Encoding: chunked"],
      body: chunks.join(""),
    });
    assert.equal(answer.status, 200, answer.text);
  });

  test("HTTP/1.0 and Expect: 100-continue", async () => {
    const host = new URL(zk.url).host;
    const old = await zk.raw(`GET /client/v4/zones HTTP/1.0\r\nHost: ${host}\r\nAuthorization: Bearer ${keys.editor}\r\n\r\n`);
    assert.equal(old.status, 200, old.text);
    const expecting = await zk.cf("POST", RECORDS, challenge("expect"), { key: keys["acme-bot"], headers: { expect: "100-continue" } });
    assert.equal(expecting.status, 200, expecting.text);
  });

  test("unknown fields and the own credential inside a judged body, which are left out", async () => {
    const mark = await zk.sim.mark();
    const body = { ...challenge("odd-fields"), auth_key: keys["acme-bot"], debug: true, comment: keys["acme-bot"] };
    const answer = await zk.cf("POST", RECORDS, body, { key: keys["acme-bot"] });
    const sent = bodyOf((await since(mark))[0]);
    assert.ok(!sent.includes(keys["acme-bot"]) && !sent.includes("debug"), sent);
    assert.equal(answer.status, 200, answer.text);
  });

  test("names relative, absolute and in any case, written upstream in one spelling", async () => {
    for (const [index, name] of ["_acme-challenge.odd", "_ACME-Challenge.Odd.Example.COM", "_acme-challenge.odd.example.com."].entries()) {
      const mark = await zk.sim.mark();
      const answer = await zk.cf("POST", RECORDS, { ...challenge("odd", `"${index}"`), name }, { key: keys["acme-bot"] });
      assert.equal(answer.status, 200, answer.text);
      assert.equal(JSON.parse(bodyOf((await since(mark))[0])).name, "_acme-challenge.odd.example.com");
    }
  });
});

describe("what comes back", () => {
  test("only the headers on the list", async () => {
    await zk.sim.faults([
      {
        match: { method: "GET", path: "*/dns_records" },
        times: 1,
        action: {
          status: 200,
          headers: [
            ["set-cookie", "__cfruid=secret; path=/"],
            ["server", "cloudflare"],
            ["x-envoy-secret", "internal"],
            ["location", "https://evil.test/"],
            ["access-control-allow-origin", "*"],
            ["cf-ray", "0123456789abcdef-FRA"],
            ["ratelimit", '"default";r=1199;t=300'],
            ["ratelimit-policy", '"default";q=1200;w=300'],
            ["etag", 'W/"1"'],
          ],
          body: { success: true, errors: [], messages: [], result: [] },
        },
      },
    ]);
    const { headers } = await zk.cf("GET", RECORDS, undefined, { key: keys.editor });
    for (const name of ["set-cookie", "server", "x-envoy-secret", "location", "access-control-allow-origin"]) {
      assert.equal(headers[name], undefined, name);
    }
    assert.equal(headers["cf-ray"], "0123456789abcdef-FRA");
    assert.equal(headers.ratelimit, '"default";r=1199;t=300');
    assert.equal(headers["ratelimit-policy"], '"default";q=1200;w=300');
    assert.equal(headers.etag, 'W/"1"');
  });

  test("Cloudflare's own error codes", async () => {
    const twice = { type: "A", name: "twice", content: "192.0.2.30", ttl: 300 };
    assert.equal((await zk.cf("POST", RECORDS, twice, { key: keys.editor })).status, 200);
    const again = await zk.cf("POST", RECORDS, twice, { key: keys.editor });
    assert.deepEqual([again.status, again.code], [400, 81058]);
    const clash = await zk.cf("POST", RECORDS, { type: "CNAME", name: "twice", content: "example.net" }, { key: keys.editor });
    assert.deepEqual([clash.status, clash.code], [400, 81053]);
    const bad = await zk.cf("POST", RECORDS, { ...twice, content: "nonsense" }, { key: keys.editor });
    assert.deepEqual([bad.status, bad.code], [400, 9005]);
    const missing = await zk.cf("GET", `${RECORDS}/${"0".repeat(32)}`, undefined, { key: keys.editor });
    assert.deepEqual([missing.status, missing.code], [404, 81044]);
    const entry = await outcomeOf(zk, { operation: "dns-records-for-a-zone-create-dns-record", principal: "editor" });
    assert.equal(entry.outcome, "refused");
    assert.match(entry.sentence, /refused by Cloudflare with 400/);
  });

  test("a 429 with its retry-after, sent once and recorded as throttled", async () => {
    const envelope = { success: false, errors: [{ code: 10429, message: "More than 1200 requests per 300 seconds reached." }], messages: [], result: null };
    const action = { status: 429, headers: { "retry-after": "17" }, body: envelope };
    for (const [method, body] of [["GET", undefined], ["POST", { type: "A", name: "late", content: "192.0.2.31" }]]) {
      const mark = await zk.sim.mark();
      await zk.sim.faults([{ match: { method, path: "*/dns_records" }, times: 1, action }]);
      const answer = await zk.cf(method, RECORDS, body, { key: keys.editor });
      assert.deepEqual([answer.status, answer.code, answer.headers["retry-after"]], [429, 10429, "17"]);
      assert.equal((await since(mark)).length, 1);
    }
    const entry = await outcomeOf(zk, { principal: "editor" });
    assert.deepEqual([entry.outcome, entry.status], ["throttled", 429]);
  });

  test("the simulator's own rate limit, as it answers", async () => {
    await zk.sim.limits(3, 60);
    let answer;
    for (let calls = 0; calls < 5 && answer?.status !== 429; calls += 1) {
      answer = await zk.cf("GET", RECORDS, undefined, { key: keys.editor });
    }
    await zk.sim.limits(1_200, 300);
    assert.equal(answer.status, 429, answer.text);
    assert.ok(Number(answer.headers["retry-after"]) > 0, JSON.stringify(answer.headers));
  });
});

describe("refusals", () => {
  for (const header of ["Zonekeeper-Dry-Run", "Idempotency-Key", "Zonekeeper-Allow-Mass-Change", "Zonekeeper-Fault"]) {
    test(`${header} is not built and not ignored`, async () => {
      const call = () => zk.cf("POST", RECORDS, challenge("not-built"), { key: keys["acme-bot"], headers: { [header]: "true" } });
      const { answer } = await refused(zk, call, { status: 501, code: 20061 });
      assert.match(answer.errors[0].message, new RegExp(header, "i"));
    });
  }

  test("of every kind cost no call and leave one row", async () => {
    const cf = (method, path, body, options) => () => zk.cf(method, path, body, options);
    for (const [act, expected] of [
      [cf("GET", RECORDS, undefined, { key: null }), { status: 401, code: 20010 }],
      [cf("GET", RECORDS, undefined, { key: "x".repeat(40) }), { status: 401, code: 20011 }],
      [cf("GET", RECORDS, undefined, { key: zk.rootKey }), { status: 401, code: 20011 }],
      [cf("GET", RECORDS, undefined, { key: keys.editor, headers: { "x-auth-key": keys.editor } }), { status: 400, code: 20002 }],
      [cf("GET", `${RECORDS}/`, undefined, { key: keys.editor }), { status: 400, code: 20001 }],
      [cf("POST", RECORDS, "{", { key: keys.editor }), { status: 400, code: 20003 }],
      [cf("POST", RECORDS, '{"a":1,"a":1}', { key: keys.editor }), { status: 400, code: 20004 }],
      [cf("GET", RECORDS, undefined, { key: keys.stranger }), { status: 403, code: 20020 }],
      [cf("POST", RECORDS, challenge("x"), { key: keys.reader }), { status: 403, code: 20020 }],
      [cf("GET", "/no/such/thing", undefined, { key: keys.editor }), { status: 403, code: 20021 }],
      [cf("GET", RECORDS, undefined, { key: keys.operator }), { status: 403, code: 20020 }],
    ]) {
      await refused(zk, act, expected);
    }
  });

  test("a key opens /api/v1 only as far as its grants go, and it opens nothing else", async () => {
    for (const [path, key, status] of [
      ["/config", keys.editor, 403],
      ["/audit", keys.editor, 403],
      ["/config", keys.operator, 200],
      ["/audit", keys.operator, 200],
      ["/whoami", keys.editor, 200],
      ["/runs", keys.operator, 403],
      ["/budget", keys.operator, 501],
      ["/nothing", keys.operator, 404],
    ]) {
      assert.equal((await zk.api("GET", path, undefined, { key })).status, status, path);
    }
    const denied = await zk.api("PUT", "/config", { principals: [] }, { key: keys.editor });
    assert.deepEqual([denied.status, denied.code], [403, 20020]);
  });
});

test("no secret appears in an answer, a log line or a file of the state", async () => {
  // The minted keys were answered once each before the recording began.
  const secrets = { "the upstream token": zk.sim.state.token, "the root key": zk.rootKey };
  for (const [name, key] of Object.entries(keys)) secrets[`the key of ${name}`] = key;
  assert.ok(answers.length > 80);
  const logs = JSON.stringify(zk.logs);
  for (const [name, secret] of Object.entries(secrets)) {
    for (const form of [secret, Buffer.from(secret).toString("base64").replace(/=+$/, ""), Buffer.from(secret).toString("hex")]) {
      assert.ok(!answers.some((answer) => answer.includes(form)), `${name} is in an answer`);
      assert.ok(!logs.includes(form), `${name} is in the logs`);
      assert.deepEqual(await zk.filesContaining(form), [], `${name} is on disk`);
    }
  }
});
