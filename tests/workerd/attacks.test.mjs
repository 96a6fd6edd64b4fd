// Attacks over raw TCP against the real runtime: what the Worker must refuse, and what must never get past it.
// The names carry the case ids of the threat table.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import http from "node:http";
import net from "node:net";
import { after, before, beforeEach, describe, test } from "node:test";
import { ACCOUNT, COM, NET, OTHER_ACCOUNT, RECORDS, bodyOf, challenge, entriesAfter, headersOf, newestEntry, outcomeOf, raw, refused, startWithKeys } from "./lib/cases.mjs";

let zk;
let keys;
/** A server of an attacker's, which must never see anything. */
let elsewhere;
let elsewhereUrl;
let elsewhereSaw = [];

before(async () => {
  ({ zk, keys } = await startWithKeys());
  elsewhere = http.createServer((request, response) => {
    elsewhereSaw.push(`${request.method} ${request.url} ${JSON.stringify(request.headers)}`);
    response.end("{}");
  });
  await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
  elsewhereUrl = `http://127.0.0.1:${elsewhere.address().port}`;
});
beforeEach(() => {
  elsewhereSaw = [];
});
after(async () => {
  elsewhere?.close();
  await zk?.stop();
});

const BASE = "/client/v4";

/** What reached the API since `mark`, as `METHOD path`. */
async function sentSince(mark) {
  return (await zk.sim.ledger({ after: mark })).map(({ method, path }) => `${method} ${path}`);
}

/** Of these what may have changed something; a write of unknown outcome is also read back. */
async function writtenSince(mark) {
  return (await sentSince(mark)).filter((sent) => !sent.startsWith("GET "));
}

/** Whatever the runtime or we make of it, nothing may reach the API and nobody may be told yes. */
async function harmless(act) {
  const mark = await zk.sim.mark();
  let answer;
  try {
    answer = await act();
  } catch (error) {
    answer = { status: undefined, text: error.message };
  }
  assert.ok(answer.status === undefined || answer.status >= 400, `${answer.status} ${answer.text}`);
  assert.deepEqual(await sentSince(mark), []);
  return answer;
}

describe("P: paths", () => {
  // Dot segments reach the Worker as sent here, and collapsed behind other front ends: either way
  // what is decided is what would be sent.
  async function dotted(target, { method = "GET", key = keys.editor, body } = {}) {
    const mark = await zk.sim.mark();
    const newest = await newestEntry(zk);
    const answer = await raw(zk, method, target, { key, body });
    const sent = await sentSince(mark);
    const entries = await entriesAfter(zk, newest);
    return { answer, sent, entries };
  }

  test("P1: dot segments, plain, encoded and mixed, are refused or authorised as what they collapse to", async () => {
    for (const [target, collapsed] of [
      [`/zones/${COM}/../../user/tokens`, "/user/tokens"],
      [`/zones/${COM}/%2e%2e/%2E%2e/user/tokens`, "/user/tokens"],
      [`/zones/${COM}/.%2e/../user/tokens`, "/user/tokens"],
      [`/zones/${COM}/dns_records/../../../user/./tokens`, "/user/tokens"],
      [`/zones/${COM}/../${NET}/dns_records`, `/zones/${NET}/dns_records`],
      [`/zones/${COM}/%2e%2e/${NET}/dns_records`, `/zones/${NET}/dns_records`],
      [`/zones/${COM}/dns_records/.`, undefined],
      [`/zones/${COM}/dns_records/..`, undefined],
      [`/./zones/${NET}`, `/zones/${NET}`],
    ]) {
      const { answer, sent, entries } = await dotted(BASE + target);
      assert.deepEqual(sent, [], target);
      assert.equal(entries.length, 1);
      assert.equal(entries[0].decision, "deny");
      if (answer.status === 400) assert.equal(answer.code, 20001);
      else assert.deepEqual([answer.status, entries[0].path], [403, BASE + collapsed], target);
    }
    const { answer, sent } = await dotted(`${BASE}/zones/${NET}/../${COM}/dns_records`);
    if (answer.status === 200) assert.deepEqual(sent, [`GET ${BASE}${RECORDS}`]);
    else assert.deepEqual([answer.status, answer.code, sent], [400, 20001, []]);
  });

  test("P1: dot segments that lead out of the prefix", async () => {
    for (const target of [`${BASE}/../../etc/passwd`, `${BASE}/..`, "/..", `${BASE}/%2e%2e/%2e%2e/`]) {
      const answer = await harmless(() => raw(zk, "GET", target, { key: keys.editor }));
      assert.ok([400, 404].includes(answer.status), `${target}: ${answer.status}`);
    }
    const { version } = (await zk.api("GET", "/config")).result;
    for (const up of ["../..", "%2e%2e/%2e%2e"]) {
      const answer = await harmless(() => raw(zk, "PUT", `${BASE}/${up}/api/v1/config`, { key: keys.editor, body: "{}" }));
      assert.ok([400, 403].includes(answer.status), String(answer.status));
    }
    assert.equal((await zk.api("GET", "/config")).result.version, version);
  });

  const encoded = ["%2f", "%252f", "%5c", ";x=y", "%00", "%09", "%0a", "%zz", "%", "%c0%ae", "%e2%80%ae", "|", "^", "'", "(", "[x]"];
  for (const odd of encoded) {
    test(`P2: ${JSON.stringify(odd)} in a path`, async () => {
      for (const target of [`/zones/${COM}${odd}`, `/zones/${COM}/dns${odd}_records`, `/zones/${odd}${COM}/dns_records`]) {
        await refused(zk, () => raw(zk, "GET", BASE + target, { key: keys.editor }), { status: 400, code: 20001 });
      }
    });
  }

  test("P2: bytes that are no URL", async () => {
    for (const odd of ["\xff", "\x80\xfe", "\xc3\xa9", "<x>", '"', "\x7f"]) {
      // The runtime refuses some of them before the Worker runs.
      const answer = await harmless(() => raw(zk, "GET", `${BASE}/zones/${COM}${odd}`, { key: keys.editor }));
      assert.equal(answer.status, 400, JSON.stringify(odd));
    }
  });

  test("P2: white space ends a target, whatever follows it", async () => {
    for (const odd of [" ", "\t", "\0"]) {
      const mark = await zk.sim.mark();
      await raw(zk, "GET", `${BASE}${RECORDS}${odd}/../../${NET}`, { key: keys.editor }).catch(() => {});
      for (const sent of await sentSince(mark)) assert.equal(sent, `GET ${BASE}${RECORDS}`, JSON.stringify(odd));
    }
  });

  test("P2: a backslash is refused, or judged as the slash it is taken for", async () => {
    const { answer, sent, entries } = await dotted(`${BASE}/zones/${COM}\\..\\${NET}\\dns_records`);
    assert.deepEqual([sent, entries.length], [[], 1]);
    if (answer.status === 400) assert.equal(answer.code, 20001);
    else assert.deepEqual([answer.status, entries[0].path], [403, `${BASE}/zones/${NET}/dns_records`]);
  });

  test("P2: a free-text segment is decoded once and encoded once", async () => {
    const mark = await zk.sim.mark();
    const values = `/accounts/${ACCOUNT}/storage/kv/namespaces/${"0".repeat(31)}1/values`;
    for (const [key, sent] of [["a%2Fb", "a%2Fb"], ["a%2fb", "a%2Fb"], ["%61", "a"], ["a%252Fb", "a%252Fb"]]) {
      await raw(zk, "GET", `${BASE}${values}/${key}`, { key: keys.admin });
      assert.deepEqual((await sentSince(mark)).at(-1), `GET ${BASE}${values}/${sent}`);
    }
    for (const key of ["%2e%2e%2f", "a%00", "%ff", "%zz"]) {
      const answer = await harmless(() => raw(zk, "GET", `${BASE}${values}/${key}x/..%2f`, { key: keys.admin }));
      assert.ok([400, 403].includes(answer.status), key);
    }
    await refused(zk, () => raw(zk, "GET", `${BASE}${values}/a%00`, { key: keys.admin }), { status: 400, code: 20001 });
  });

  test("P3: empty segments, trailing slashes, letter case, excess length", async () => {
    for (const target of [`//zones`, `/zones//${COM}`, `/zones/${COM}/`, `${RECORDS}/`, `${RECORDS}//`, "/", "/zones//"]) {
      await refused(zk, () => raw(zk, "GET", BASE + target, { key: keys.editor }), { status: 400, code: 20001 });
    }
    for (const target of ["/Zones", `/ZONES/${COM}/dns_records`, `/zones/${COM}/DNS_records`]) {
      await refused(zk, () => raw(zk, "GET", BASE + target, { key: keys.editor }), { status: 403, code: 20021 });
    }
    for (const target of ["/CLIENT/V4/zones", "//client/v4/zones", "/client/v4x/zones", "/client/v4"]) {
      const answer = await harmless(() => raw(zk, "GET", target, { key: keys.editor }));
      assert.equal(answer.status, 404, target);
    }
    for (const target of [`/zones/${"a".repeat(17_000)}`, "/a".repeat(10_000), `/zones?name=${"a".repeat(17_000)}`]) {
      await refused(zk, () => raw(zk, "GET", BASE + target, { key: keys.editor }), { status: 400, code: 20001 });
    }
  });

  test("P4: placeholders, stars and look-alike digits are no ids", async () => {
    for (const id of ["{zone_id}", ":zone_id", "*", COM.toUpperCase(), COM.slice(1), `${COM}0`, "\u{ff10}".repeat(32), `${COM.slice(0, 31)}\u{0441}`]) {
      const bytes = Buffer.from(id).toString("latin1");
      await refused(zk, () => raw(zk, "GET", `${BASE}/zones/${bytes}/dns_records`, { key: keys.editor }), { status: 400, code: 20001 });
    }
  });

  test("P5: a literal wins over a parameter, and a word is no record id", async () => {
    await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}/batch`, { key: keys.editor }), { status: 400, code: 20001 });
    const newest = await newestEntry(zk);
    await raw(zk, "GET", `${BASE}${RECORDS}/export`, { key: keys.editor });
    await raw(zk, "GET", `${BASE}/accounts/${ACCOUNT}/workers/scripts/secrets`, { key: keys.admin });
    const operations = (await entriesAfter(zk, newest)).map(({ operation }) => operation).toReversed();
    assert.deepEqual(operations, ["dns-records-for-a-zone-export-dns-records", "worker-script-download-worker"]);
    const exported = await raw(zk, "GET", `${BASE}${RECORDS}/export`, { key: keys["acme-bot"] });
    assert.equal(exported.status, 200);
    assert.doesNotMatch(exported.text, /www\.example\.com/, "an export shows what the caller may see");
  });

  test("P6: a caller never chooses where a call goes", async () => {
    const other = new URL(elsewhereUrl).host;
    for (const target of [
      `${elsewhereUrl}${BASE}/zones`,
      `http://user:pass@${other}${BASE}/zones`,
      `//${other}${BASE}/zones`,
      `@${other}${BASE}/zones`,
      `:${elsewhere.address().port}${BASE}/zones`,
    ]) {
      const mark = await zk.sim.mark();
      await raw(zk, "GET", target, { key: keys.editor }).catch(() => {});
      for (const sent of await sentSince(mark)) assert.ok(sent.startsWith(`GET ${BASE}/zones`), `${target}: ${sent}`);
    }
    // A foreign Host changes nothing but the links in our own answers.
    const mark = await zk.sim.mark();
    const answer = await raw(zk, "GET", `${BASE}${RECORDS}`, { key: keys.editor, host: other });
    assert.equal(answer.status, 200);
    const [sent] = await zk.sim.ledger({ after: mark });
    assert.equal(headersOf(sent).host, new URL(zk.sim.url).host);
    for (const headers of [["X-Forwarded-Host: evil.test"], ["Forwarded: host=evil.test"], ["X-Original-URL: /client/v4/user"], ["X-Rewrite-URL: /client/v4/user"]]) {
      const from = await zk.sim.mark();
      await raw(zk, "GET", `${BASE}${RECORDS}`, { key: keys.editor, headers });
      assert.deepEqual(await sentSince(from), [`GET ${BASE}${RECORDS}`]);
    }
    await refused(zk, () => raw(zk, "GET", `${BASE}${BASE}/zones`, { key: keys.editor }), { status: 403, code: 20021 });
    assert.deepEqual(elsewhereSaw, []);
  });

  test("P7: every zone and account that path, query or body name must be allowed", async () => {
    await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}?zone_id=${NET}`, { key: keys.editor }), { status: 403, code: 20020 });
    await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}?zone.id=${NET}`, { key: keys.editor }), { status: 403, code: 20020 });
    await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}?account_id=${OTHER_ACCOUNT}`, { key: keys.editor }), { status: 403, code: 20020 });
    await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}?zone%5fid=${NET}`, { key: keys.editor }), { status: 403, code: 20020 });
    const zone = { name: "new.example", account: { id: OTHER_ACCOUNT }, type: "full" };
    await refused(zk, () => zk.cf("POST", "/zones", zone, { key: keys.editor }), { status: 403, code: 20020 });
  });
});

describe("Q: queries", () => {
  test("Q1: what policy reads stands once", async () => {
    for (const query of ["page=1&page=2", "page=1&p%61ge=2", "per_page=5&per_page=50"]) {
      await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}?${query}`, { key: keys["acme-bot"] }), { status: 400, code: 20001 });
    }
    await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}?zone_id=${COM}&zone_id=${NET}`, { key: keys.editor }), { status: 400, code: 20001 });
    await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}?zone_id=%00`, { key: keys.editor }), { status: 400, code: 20001 });
    const odd = await harmless(() => raw(zk, "GET", `${BASE}${RECORDS}?page=-1`, { key: keys["acme-bot"] }));
    assert.deepEqual([odd.status, odd.code], [400, 20032]);
  });

  test("Q1: everything else passes in order, byte for byte", async () => {
    for (const query of ["order=type&name.contains=a%09b&tag[]=x&a;b&&x=%zz&%2e%2e=/../", "??", "name.exact=%E2%82%AC&order=%74ype"]) {
      const mark = await zk.sim.mark();
      await raw(zk, "GET", `${BASE}${RECORDS}?${query}`, { key: keys.editor });
      const [sent] = await zk.sim.ledger({ after: mark });
      assert.equal(sent.query, query);
    }
  });

  test("Q2: filters cannot widen what a caller sees", async () => {
    await zk.cf("POST", RECORDS, challenge("q2"), { key: keys["acme-bot"] });
    for (const query of ["match=any&type=A&name=api.example.com", "type=A", "name=api.example.com", "search=192.0.2", "per_page=5000", "match=any&name.endswith=com&type=MX"]) {
      const answer = await raw(zk, "GET", `${BASE}${RECORDS}?${query}`, { key: keys["acme-bot"] });
      assert.equal(answer.status, 200, answer.text);
      for (const { name, type } of answer.result) assert.ok(type === "TXT" && name.startsWith("_acme-challenge."), `${query}: ${type} ${name}`);
      assert.equal(answer.result_info.count, answer.result.length);
    }
    for (const query of [`account.id=${OTHER_ACCOUNT}`, "account.name=Globex", `match=any&name=example.net&account.id=${ACCOUNT}`, "name=starts_with:example", "per_page=50"]) {
      const answer = await raw(zk, "GET", `${BASE}/zones?${query}`, { key: keys["acme-bot"] });
      assert.equal(answer.status, 200, answer.text);
      for (const { name } of answer.result) assert.equal(name, "example.com", query);
      assert.ok(answer.result_info.total_count <= 1, query);
    }
  });
});

describe("H: headers", () => {
  test("H1: method overrides are ignored and not forwarded", async () => {
    const made = await zk.sim.cf("POST", RECORDS, { type: "A", name: "h1", content: "192.0.2.8" });
    const mark = await zk.sim.mark();
    const newest = await newestEntry(zk);
    const headers = ["X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "X-Method: DELETE"];
    const answer = await raw(zk, "GET", `${BASE}${RECORDS}/${made.result.id}?_method=DELETE`, { key: keys.editor, headers });
    assert.equal(answer.status, 200);
    const [sent] = await zk.sim.ledger({ after: mark });
    assert.equal(sent.method, "GET");
    assert.ok(!Object.keys(headersOf(sent)).some((name) => name.includes("method")));
    assert.equal((await entriesAfter(zk, newest))[0].method, "GET");
  });

  test("H2: only the headers on the list go upstream, with our credential alone", async () => {
    const mark = await zk.sim.mark();
    const headers = [
      "Accept: application/json",
      "If-None-Match: \"1\"",
      "X-Auth-Email: somebody@evil.test",
      "Cookie: CF_Authorization=x; session=y",
      "Forwarded: for=203.0.113.1",
      "X-Forwarded-For: 203.0.113.1",
      "X-Forwarded-Proto: https",
      "X-Real-IP: 203.0.113.1",
      "CF-Connecting-IP: 203.0.113.1",
      "CF-IPCountry: XX",
      "CF-Worker: evil.test",
      "CF-Access-Client-Id: x",
      "CF-Access-Client-Secret: y",
      "CDN-Loop: cloudflare",
      "Via: 1.1 evil",
      "Proxy-Authorization: Basic eDp5",
      "TE: trailers",
      "X-Stainless-Lang: js",
      "User-Agent: evil/1",
      "Referer: https://evil.test/",
      "Range: bytes=0-10",
      "Origin: https://evil.test",
    ];
    const answer = await raw(zk, "GET", `${BASE}${RECORDS}`, { key: keys.editor, headers });
    assert.equal(answer.status, 200, answer.text);
    const [sent] = await zk.sim.ledger({ after: mark });
    const received = headersOf(sent);
    assert.equal(received.authorization, `Bearer ${zk.sim.state.token}`);
    // The runtime adds CF-Worker itself, as Cloudflare does.
    const ours = ["accept", "accept-encoding", "authorization", "cf-worker", "connection", "content-length", "host", "if-none-match", "user-agent"];
    assert.deepEqual(Object.keys(received).filter((name) => !ours.includes(name)), []);
    assert.ok(!JSON.stringify(received).includes("evil"), JSON.stringify(received));
    assert.ok(!JSON.stringify(sent.headers).includes(keys.editor));
  });

  test("H2: Connection cannot name our credential away", async () => {
    const mark = await zk.sim.mark();
    const host = new URL(zk.url).host;
    const answer = await zk.raw(
      `GET ${BASE}${RECORDS} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${keys.editor}\r\nConnection: close, authorization\r\nKeep-Alive: timeout=5\r\n\r\n`,
    );
    const sent = await zk.sim.ledger({ after: mark });
    for (const entry of sent) assert.equal(headersOf(entry).authorization, `Bearer ${zk.sim.state.token}`);
    assert.equal(answer.status === 200, sent.length === 1);
  });

  test("H2: two credentials of any kind are ambiguous", async () => {
    for (const headers of [
      [`Authorization: Bearer ${keys.editor}`],
      ["Authorization: Basic eDp5"],
      [`X-Auth-Key: ${keys.editor}`],
      [`X-Auth-Key: ${keys.admin}`, "X-Auth-Email: a@b.c"],
      ["X-Auth-User-Service-Key: v1.0-x"],
    ]) {
      await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}`, { key: keys.editor, headers }), { status: 400, code: 20002 });
    }
    const twice = [`X-Auth-Key: ${keys.editor}`, `X-Auth-Key: ${keys.admin}`];
    await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}`, { headers: twice }), { status: 400, code: 20002 });
    const comma = [`Authorization: Bearer ${keys.editor}, Bearer ${keys.admin}`];
    await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}`, { headers: comma }), { status: 400, code: 20002 });
  });

  test("H3: a forged Access assertion opens nothing", async () => {
    const jwt = ["eyJhbGciOiJub25lIn0", "eyJlbWFpbCI6Im93bmVyQGFjbWUudGVzdCJ9", ""].join(".");
    for (const headers of [[`Cf-Access-Jwt-Assertion: ${jwt}`], [`Cookie: CF_Authorization=${jwt}`]]) {
      await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}`, { headers }), { status: 401, code: 20010 });
      assert.equal((await raw(zk, "GET", "/api/v1/config", { headers })).status, 401);
    }
  });

  test("H3: the address Cloudflare reports is on record, and only that", async () => {
    const newest = await newestEntry(zk);
    await raw(zk, "GET", `${BASE}${RECORDS}`, { key: keys.editor, headers: ["CF-Connecting-IP: 203.0.113.7", "X-Real-IP: 198.51.100.1"] });
    await raw(zk, "GET", `${BASE}${RECORDS}`, { key: keys.editor, headers: ["X-Forwarded-For: 203.0.113.8"] });
    const [second, first] = await entriesAfter(zk, newest);
    assert.deepEqual([first.source_ip, second.source_ip ?? null], ["203.0.113.7", null]);
  });

  test("H3: an absent address works against a caller who may call from one network only", async () => {
    for (const headers of [[], ["CF-Connecting-IP: 198.51.100.7"], ["CF-Connecting-IP: nonsense"], ["X-Forwarded-For: 203.0.113.7"]]) {
      await refused(zk, () => raw(zk, "GET", `${BASE}${RECORDS}`, { key: keys.office, headers }), { status: 403, code: 20020 });
    }
  });

  test("H4: broken and oversized headers never reach the API", async () => {
    const host = new URL(zk.url).host;
    const auth = `Authorization: Bearer ${keys.editor}`;
    const get = (lines) => zk.raw(Buffer.from(`GET ${BASE}${RECORDS} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${lines}\r\n\r\n`, "latin1"));
    for (const lines of [
      `${auth}\r\nX-Nul: a\0b`,
      `${auth}\r\nBad Name: x`,
      `${auth}\r\nNo-Colon`,
      `${auth}\r\nX-Big: ${"a".repeat(256 * 1024)}`,
      `${auth}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked`,
      `${auth}\r\nContent-Length: -1`,
      `${auth}\r\nÄ: x`,
      `Authorization: Bearer ${keys.editor}\0`,
      `Authorization: Bearer ${keys.editor}\xe9`,
    ]) {
      const mark = await zk.sim.mark();
      const answer = await get(lines).catch((error) => ({ text: error.message }));
      const sent = await zk.sim.ledger({ after: mark });
      // What the runtime lets pass may be served, but as the plain read it is.
      for (const entry of sent) {
        assert.deepEqual([entry.method, entry.path], ["GET", `${BASE}${RECORDS}`]);
        assert.equal(headersOf(entry).authorization, `Bearer ${zk.sim.state.token}`);
      }
      assert.ok(sent.length === 1 || answer.status === undefined || answer.status >= 400, `${lines.slice(0, 80)}: ${answer.status}`);
      assert.ok(sent.length <= 1);
    }
    // A folded line is one value: the key with something behind it is no key.
    const folded = await get(`Authorization: Bearer ${keys.editor}\r\n X-Auth-Key: ${keys.admin}`);
    assert.ok(folded.status >= 400, String(folded.status));
  });

  test("H4: a header value cannot break into the audit log", async () => {
    const newest = await newestEntry(zk);
    await raw(zk, "GET", `${BASE}${RECORDS}`, { key: keys.editor, headers: ['CF-Connecting-IP: 1.2.3.4","decision":"deny\u001b[31m{x}'] });
    const [entry] = await entriesAfter(zk, newest);
    assert.equal(entry.decision, "allow");
    assert.ok(!/[\u0000-\u001f{}]/.test(entry.source_ip ?? "") && (entry.source_ip ?? "").length <= 46, JSON.stringify(entry));
  });

  test("H5: headers and paths of the development server do nothing here", async () => {
    const mark = await zk.sim.mark();
    const headers = [`MF-Original-URL: ${elsewhereUrl}/x`, "MF-Route-Override: nobody", "MF-Disable-Pretty-Error: 1", "MF-CF-Blob: {}"];
    const answer = await raw(zk, "GET", `${BASE}${RECORDS}`, { key: keys.editor, headers });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(await sentSince(mark), [`GET ${BASE}${RECORDS}`]);
    for (const path of ["/cdn-cgi/mf/reload", "/cdn-cgi/handler/email", "/cdn-cgi/platform", "/__scheduled"]) {
      const nothing = await harmless(() => raw(zk, "GET", path));
      assert.equal(nothing.status, 404, path);
    }
    const rebound = await raw(zk, "GET", "/cdn-cgi/handler/scheduled?cron=*", { host: "evil.test" });
    assert.equal(rebound.status, 404, "a foreign name for this machine fires nothing");
  });
});

describe("J: bodies", () => {
  const post = (body, options = {}) => raw(zk, "POST", `${BASE}${RECORDS}`, { key: keys["acme-bot"], headers: ["Content-Type: application/json"], body, ...options });

  test("J1: a key that stands twice, at any depth and in any spelling", async () => {
    for (const body of [
      '{"type":"TXT","type":"A","name":"_acme-challenge.x","content":"x"}',
      '{"type":"TXT","name":"_acme-challenge.x","content":"x","n\\u0061me":"www"}',
      '{"type":"TXT","name":"_acme-challenge.x","content":"x","data":{"a":1,"\\u0061":2}}',
      '{"type":"TXT","name":"_acme-challenge.x","content":"x","tags":[{"a":1,"a":2}]}',
    ]) {
      await refused(zk, () => post(body), { status: 400, code: 20004 });
    }
  });

  const valid = JSON.stringify(challenge("j2"));
  const malformed = {
    "a byte order mark": `\u{feff}${valid}`,
    "trailing bytes": `${valid}x`,
    "two documents": `${valid}${valid}`,
    "NaN": '{"type":"TXT","name":"_acme-challenge.x","content":"x","ttl":NaN}',
    "1e400": '{"type":"TXT","name":"_acme-challenge.x","content":"x","ttl":1e400}',
    "an integer above 2^53": '{"type":"TXT","name":"_acme-challenge.x","content":"x","ttl":9007199254740993}',
    "a number of 64 KB": `{"type":"TXT","name":"_acme-challenge.x","content":"x","ttl":${"1".repeat(65_536)}}`,
    "half a surrogate pair": '{"type":"TXT","name":"_acme-challenge.x","content":"\\ud800"}',
    "a control character in a text": '{"type":"TXT","name":"_acme-challenge.x","content":"a\nb"}',
    "a comment": `${valid.slice(0, -1)}/* */}`,
    "a final comma": `${valid.slice(0, -1)},}`,
    "bytes that are not UTF-8": Buffer.concat([Buffer.from(valid.slice(0, -2)), Buffer.from([0xff, 0x22, 0x7d])]),
    "depth 33": `{"data":${"[".repeat(32)}${"]".repeat(32)}}`,
    "depth 100000": "[".repeat(100_000),
    "a key of 100 KB": `{"${"k".repeat(100_000)}":1}`,
    "nothing": "",
    "no object": "[]",
    "null": "null",
  };
  for (const [what, body] of Object.entries(malformed)) {
    test(`J2: ${what}`, async () => {
      await refused(zk, () => post(body), { status: 400, code: 20003 });
    });
  }

  test("J2: depth 32 is read", async () => {
    const body = `{"type":"TXT","name":"_acme-challenge.deep.example.com","content":"\\"x\\"","ttl":60,"unknown":${"[".repeat(31)}${"]".repeat(31)}}`;
    assert.equal((await post(body)).status, 200);
  });

  test("J3: only JSON is judged, and only in one encoding", async () => {
    for (const type of ["application/json; charset=utf-7", "application/json; charset=utf-16", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html", "application/json, text/plain"]) {
      await refused(zk, () => post(valid, { headers: [`Content-Type: ${type}`] }), { status: 400, code: 20003 });
    }
    const twice = ["Content-Type: application/json", "Content-Type: text/plain"];
    const answer = await harmless(() => post(valid, { headers: twice }));
    assert.ok(answer.status === undefined || answer.status === 400 || answer.status === 500, String(answer.status));
    for (const encoding of ["br", "gzip, gzip", "zstd", "gzip"]) {
      const headers = ["Content-Type: application/json", `Content-Encoding: ${encoding}`];
      await refused(zk, () => post(valid, { headers }), { status: 400, code: 20003 });
    }
  });

  test("J4: fields that nobody judges cannot smuggle another record in", async () => {
    const mark = await zk.sim.mark();
    const body = { ...challenge("j4"), Name: "www.example.com", NAME: "www", Type: "A", records: [{ type: "A", name: "www" }], zone_name: "example.net" };
    const answer = await zk.cf("POST", RECORDS, body, { key: keys["acme-bot"] });
    assert.equal(answer.status, 200, answer.text);
    const [sent] = await zk.sim.ledger({ after: mark });
    assert.deepEqual(Object.keys(JSON.parse(bodyOf(sent))).toSorted(), ["content", "name", "ttl", "type"]);
  });

  test("U6: a body above the cap, with and without a length, and inflated", async () => {
    const long = JSON.stringify({ ...challenge("u6"), content: "x".repeat(1_100_000) });
    await refused(zk, () => post(long), { status: 413, code: 20005 });
    const chunked = `${Buffer.byteLength(long).toString(16)}\r\n${long}\r\n0\r\n\r\n`;
    await refused(zk, () => post(chunked, { headers: ["Content-Type: application/json", "Transfer-Encoding: chunked"] }), { status: 413, code: 20005 });
    const { gzipSync } = await import("node:zlib");
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, 0x20));
    await refused(zk, () => post(bomb, { headers: ["Content-Type: application/json", "Content-Encoding: gzip"] }), { status: 413, code: 20005 });
  });
});

describe("E: escalation", () => {
  test("E5: tokens and members, whatever groups are held", async () => {
    const policy = { name: "x", policies: [] };
    for (const [method, path, body] of [
      ["POST", "/user/tokens", policy],
      ["PUT", `/user/tokens/${"f".repeat(32)}/value`, {}],
      ["POST", `/accounts/${ACCOUNT}/tokens`, policy],
      ["PUT", `/accounts/${ACCOUNT}/tokens/${"f".repeat(32)}/value`, {}],
      ["POST", `/accounts/${ACCOUNT}/members`, { email: "evil@evil.test", roles: [] }],
      ["PUT", `/accounts/${ACCOUNT}/members/${"f".repeat(32)}`, {}],
    ]) {
      const answer = await harmless(() => zk.cf(method, path, body, { key: keys.admin }));
      assert.equal(answer.status, 403, `${method} ${path}: ${answer.text}`);
      assert.ok([20020, 20022].includes(answer.code), answer.text);
    }
    const call = () => zk.cf("POST", `/accounts/${ACCOUNT}/members`, { email: "a@acme.test", roles: [] }, { key: keys.admin });
    await refused(zk, call, { status: 403, code: 20022 });
  });

  test("E5: a grant that names the operation id reaches it", async () => {
    const mark = await zk.sim.mark();
    await zk.cf("POST", `/accounts/${ACCOUNT}/members`, { email: "a@acme.test", roles: [] }, { key: keys.named });
    assert.deepEqual(await sentSince(mark), [`POST ${BASE}/accounts/${ACCOUNT}/members`]);
  });

  test("E6: an upload whose bindings cannot be judged is refused", async () => {
    const form = new FormData();
    form.set("metadata", JSON.stringify({ main_module: "x.js", bindings: [{ type: "d1", name: "DB", id: "5a6f6e65-6b65-4570-8572-000000000d10" }] }));
    form.set("x.js", new Blob(["export default {}"], { type: "application/javascript+module" }), "x.js");
    const request = new Request("http://x/", { method: "POST", body: form });
    const body = Buffer.from(await request.arrayBuffer());
    const headers = { "content-type": request.headers.get("content-type") };
    const answer = await harmless(() => zk.cf("PUT", `/accounts/${ACCOUNT}/workers/scripts/site`, body, { key: keys.admin, headers }));
    assert.equal(answer.status, 403, answer.text);
  });

  const D1 = "5a6f6e65-6b65-4570-8572-000000000d10";
  const KV = "5a6f6e656b656570657200000000006b";
  const own = {
    "its script": ["DELETE", "/workers/scripts/zonekeeper"],
    "its script in capitals": ["DELETE", "/workers/scripts/ZoneKeeper"],
    "its script's code": ["GET", "/workers/scripts/zonekeeper"],
    "its secrets": ["PUT", "/workers/scripts/zonekeeper/secrets", { name: "ROOT_KEY", text: "x", type: "secret_text" }],
    "its schedules": ["PUT", "/workers/scripts/zonekeeper/schedules", [{ cron: "* * * * *" }]],
    "its deployments": ["POST", "/workers/scripts/zonekeeper/deployments", { strategy: "percentage", versions: [{ version_id: "0".repeat(32), percentage: 100 }] }],
    "SQL on its database": ["POST", `/d1/database/${D1}/query`, { sql: "DELETE FROM audit_events" }],
    "SQL on its database by name": ["POST", "/d1/database/zonekeeper/query", { sql: "SELECT 1" }],
    "raw SQL on its database": ["POST", `/d1/database/${D1}/raw`, { sql: "SELECT 1" }],
    "its database": ["DELETE", `/d1/database/${D1}`],
    "its database's past": ["POST", `/d1/database/${D1}/time_travel/restore`, {}],
    "its namespace's values": ["GET", `/storage/kv/namespaces/${KV}/values/x`],
    "its namespace": ["DELETE", `/storage/kv/namespaces/${KV}`],
    "bulk writes to its namespace": ["PUT", `/storage/kv/namespaces/${KV}/bulk`, []],
    "messages to its queue": ["POST", "/queues/5a6f6e656b6565706572000000000071/messages", { body: {} }],
  };
  for (const [what, [method, path, body]] of Object.entries(own)) {
    test(`E7: ${what}`, async () => {
      await refused(zk, () => zk.cf(method, `/accounts/${ACCOUNT}${path}`, body, { key: keys.admin }), { status: 403, code: 20022 });
    });
  }

  test("E7: SQL on its own database, though a grant names the operation", async () => {
    for (const database of [D1, "zonekeeper", D1.toUpperCase()]) {
      for (const verb of ["query", "raw"]) {
        await refused(zk, () => zk.cf("POST", `/accounts/${ACCOUNT}/d1/database/${database}/${verb}`, { sql: "SELECT 1" }, { key: keys.named }), { status: 403, code: 20022 });
      }
    }
    const mark = await zk.sim.mark();
    await zk.cf("POST", `/accounts/${ACCOUNT}/d1/database/another/query`, { sql: "SELECT 1" }, { key: keys.named });
    assert.equal((await sentSince(mark)).length, 1, "another database is reached");
  });

  test("E8: GraphQL that names no zone, several queries, introspection and mutations are refused", async () => {
    for (const body of [{ query: "{ viewer { zones { zoneTag } } }" }, [{ query: "{ __schema { types { name } } }" }], { query: "{ __schema { types { name } } }" }, { query: "mutation { x }" }]) {
      const answer = await harmless(() => zk.cf("POST", "/graphql", body, { key: keys.admin }));
      assert.ok([400, 403].includes(answer.status), answer.text);
      assert.match(String(answer.code), /^200\d\d$/, answer.text);
    }
  });

  test("E9: a tail is a websocket beside the gateway, and 501", async () => {
    for (const script of ["site", "zonekeeper"]) {
      const tail = () => zk.cf("POST", `/accounts/${ACCOUNT}/workers/scripts/${script}/tails`, {}, { key: keys.admin });
      await refused(zk, tail, { status: 501, code: 20060 });
    }
  });

  test("E9: upgraded connections and foreign methods are 501, Range is dropped", async () => {
    const websocket = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    const host = new URL(zk.url).host;
    const upgrade = () => zk.raw(`GET ${BASE}${RECORDS} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${keys.editor}\r\nConnection: Upgrade\r\n${websocket.join("\r\n")}\r\n\r\n`, { timeoutMs: 1_500 });
    await refused(zk, upgrade, { status: 501, code: 20060 });
    for (const method of ["PURGE", "PROPFIND", "OPTIONS", "MKCOL", "SEARCH"]) {
      await refused(zk, () => raw(zk, method, `${BASE}${RECORDS}`, { key: keys.editor }), { status: 501, code: 20060 });
    }
    for (const method of ["get", "Delete", "TRACE", "CONNECT", "BREW"]) {
      const answer = await harmless(() => raw(zk, method, `${BASE}${RECORDS}`, { key: keys.editor, timeoutMs: 1_500 }));
      assert.ok([undefined, 400, 403, 404, 405, 500, 501].includes(answer.status), `${method}: ${answer.status}`);
    }
    const ranged = await raw(zk, "GET", `${BASE}${RECORDS}`, { key: keys.editor, headers: ["Range: bytes=0-1"] });
    assert.equal(ranged.status, 200);
  });

  test("E10: deleting a zone and purging everything must be named", async () => {
    await refused(zk, () => zk.cf("DELETE", `/zones/${NET}`, undefined, { key: keys.admin }), { status: 403, code: 20020 });
    for (const body of [{ purge_everything: true }, { purge_everything: true, files: ["https://example.com/x"] }]) {
      await refused(zk, () => zk.cf("POST", `/zones/${COM}/purge_cache`, body, { key: keys.editor }), { status: 403, code: 20020 });
    }
    await refused(zk, () => zk.cf("POST", `/zones/${COM}/purge_cache`, { purge_everything: "yes" }, { key: keys.editor }), { status: 400, code: 20003 });
    const allowed = await zk.cf("POST", `/zones/${COM}/purge_cache`, { files: ["https://example.com/x"] }, { key: keys.editor });
    assert.equal(allowed.status, 200, allowed.text);
  });
});

describe("U: answers of the API", () => {
  after(() => zk.sim.clearFaults());

  const CREATE = "dns-records-for-a-zone-create-dns-record";

  // The answer was lost. The caller is told that the write happened only if that was read back at once;
  // otherwise that it is unknown, and a later tick finds out.
  async function settledAs(happened, answer, operation) {
    const entry = await outcomeOf(zk, { operation });
    if (answer.status === 200) assert.ok(happened && entry.outcome === "settled" && answer.messages.length === 1, answer.text);
    else {
      assert.equal(answer.status, 502, answer.text);
      assert.equal(entry.outcome, "unknown");
      if (answer.json) assert.ok(answer.code === 20070 && answer.errors[0].message.includes(entry.id), answer.text);
    }
    await zk.tick(Date.now() + 60_000);
    const [settled] = (await zk.audit({ operation, limit: 1000 })).filter(({ id }) => id === entry.id);
    assert.equal(settled.outcome, "settled");
    assert.match(settled.sentence, happened ? /showed that it happened\.$/ : /found no trace of it\.$/);
  }

  test("U1: an answer that repeats our token is withheld", async () => {
    for (const [method, body, key] of [
      ["GET", undefined, keys.editor],
      ["GET", undefined, keys["acme-bot"]],
      ["POST", challenge("u1"), keys["acme-bot"]],
    ]) {
      await zk.sim.faults([{ match: { method, path: "*/dns_records" }, times: 1, action: { echo: "token" } }]);
      const answer = await zk.cf(method, RECORDS, body, { key });
      assert.deepEqual([answer.status, answer.code], [502, 20072], answer.text);
      const { token } = zk.sim.state;
      for (const form of [token, Buffer.from(token).toString("base64").slice(0, 40), encodeURIComponent(token)]) assert.ok(!answer.text.includes(form));
      assert.ok(!JSON.stringify(answer.rawHeaders).includes(token));
    }
    for (const form of [(t) => Buffer.from(t).toString("base64"), (t) => Buffer.from(t).toString("hex"), (t) => Buffer.from(`:${t}`).toString("base64")]) {
      const body = `debug: ${form(zk.sim.state.token)}`;
      await zk.sim.faults([{ match: { method: "GET", path: "*/dns_records" }, times: 1, action: { status: 400, body } }]);
      const answer = await zk.cf("GET", RECORDS, undefined, { key: keys.editor });
      assert.deepEqual([answer.status, answer.code], [502, 20072], `${body} ${answer.text}`);
    }
    assert.ok(zk.logs.some(({ message }) => message.includes("ALARM")));
    assert.ok(!JSON.stringify(zk.logs).includes(zk.sim.state.token));
  });

  test("U2: a redirect is not followed, wherever it leads", async () => {
    for (const location of [`${elsewhereUrl}/steal`, "/client/v4/user/tokens", `${zk.sim.url}${BASE}/user/tokens`]) {
      for (const status of [301, 302, 307, 308]) {
        for (const [method, body, key] of [["GET", undefined, keys.editor], ["GET", undefined, keys["acme-bot"]], ["POST", challenge(`u2-${status}`), keys["acme-bot"]]]) {
          const mark = await zk.sim.mark();
          await zk.sim.faults([{ match: { method, path: "*/dns_records" }, times: 1, action: { redirect: location, status } }]);
          const answer = await zk.cf(method, RECORDS, body, { key });
          assert.deepEqual([answer.status, answer.code], [502, 20071], `${method} ${status}: ${answer.text}`);
          assert.equal(answer.headers.location, undefined);
          const sent = await sentSince(mark);
          assert.equal(sent[0], `${method} ${BASE}${RECORDS}`);
          assert.ok(sent.every((call) => call.endsWith(RECORDS)), JSON.stringify(sent));
          assert.equal(sent.length, method === "GET" ? 1 : sent.length);
          assert.deepEqual(await writtenSince(mark), method === "GET" ? [] : sent.slice(0, 1));
        }
      }
    }
    assert.deepEqual(elsewhereSaw, []);
    assert.equal((await outcomeOf(zk, { operation: "dns-records-for-a-zone-create-dns-record" })).outcome, "unknown");
  });

  for (const [what, action] of Object.entries({
    "reset before": { reset: "before" },
    "reset after": { reset: "after" },
    "a 502 page of an edge": { status: 502, headers: { "content-type": "text/html" }, body: "<html>Bad gateway</html>" },
  })) {
    test(`U3: a read that meets ${what} is tried again`, async () => {
      for (const key of [keys.editor, keys["acme-bot"]]) {
        const mark = await zk.sim.mark();
        await zk.sim.faults([{ match: { method: "GET", path: "*/dns_records" }, times: 1, action }]);
        const answer = await zk.cf("GET", RECORDS, undefined, { key });
        assert.equal(answer.status, 200, answer.text);
        const { length } = await sentSince(mark);
        assert.ok(length >= 2 && length <= 3, String(length));
      }
    });

    test(`U3: a write that meets ${what} is sent once and settled as what it was`, async () => {
      const mark = await zk.sim.mark();
      const label = `u3-${what.replaceAll(" ", "-")}`;
      await zk.sim.faults([{ match: { method: "POST", path: "*/dns_records" }, times: 1, action }]);
      const answer = await zk.cf("POST", RECORDS, challenge(label), { key: keys["acme-bot"] });
      assert.deepEqual(await writtenSince(mark), [`POST ${BASE}${RECORDS}`]);
      await settledAs(action.reset === "after", answer, CREATE);
    });
  }

  for (const reset of ["before", "after"]) {
    test(`U3: a deletion that meets reset ${reset} is unknown and sent once, with whatever body`, async () => {
      for (const [body, headers] of [[undefined, {}], [undefined, { "content-length": "0" }], ["{}", { "content-type": "application/json" }]]) {
        const made = await zk.sim.cf("POST", RECORDS, { type: "A", name: `u3-${randomBytes(4).toString("hex")}`, content: "192.0.2.40" });
        // A connection that is kept: the runtime repeats by itself what it takes for harmless.
        await zk.cf("GET", RECORDS, undefined, { key: keys.editor });
        const mark = await zk.sim.mark();
        await zk.sim.faults([{ match: { method: "DELETE" }, times: 1, action: { reset } }]);
        const answer = await zk.cf("DELETE", `${RECORDS}/${made.result.id}`, body, { key: keys.editor, headers });
        await zk.sim.clearFaults();
        assert.deepEqual(await writtenSince(mark), [`DELETE ${BASE}${RECORDS}/${made.result.id}`], JSON.stringify(headers));
        await settledAs(reset === "after", answer, "dns-records-for-a-zone-delete-dns-record");
      }
    });
  }

  test("U3: a read that goes on failing ends with 502", async () => {
    for (const key of [keys.editor, keys["acme-bot"]]) {
      const mark = await zk.sim.mark();
      await zk.sim.faults([{ match: { method: "GET", path: "*/dns_records" }, action: { reset: "before" } }]);
      const answer = await zk.cf("GET", RECORDS, undefined, { key });
      await zk.sim.clearFaults();
      assert.deepEqual([answer.status, answer.code], [502, 20070], answer.text);
      // The runtime itself sends a read once more when a kept connection was closed under it.
      const { length } = await sentSince(mark);
      assert.ok(length >= 3 && length <= 6, String(length));
    }
  });

  test("U3: half a body is never taken for a whole one", async () => {
    await zk.sim.faults([{ match: { method: "GET", path: "*/dns_records" }, times: 3, action: { half_body: true } }]);
    const judged = await zk.cf("GET", RECORDS, undefined, { key: keys["acme-bot"] });
    // Either it was read again whole, or it is refused; never a part of the list as if it were all.
    if (judged.status === 200) assert.ok(judged.success && judged.result_info.count === judged.result.length);
    else assert.deepEqual([judged.status, judged.code], [502, 20070], judged.text);
    await zk.sim.clearFaults();
    for (const [method, body, key] of [["GET", undefined, keys.editor], ["POST", challenge("half"), keys["acme-bot"]]]) {
      await zk.sim.faults([{ match: { method, path: "*/dns_records" }, times: 1, action: { half_body: true } }]);
      const answer = await zk.cf(method, RECORDS, body, { key }).catch((error) => ({ cut: error.message }));
      assert.ok(answer.cut || answer.status === 502 || answer.json === undefined, `${method}: ${answer.text}`);
    }
    const entry = await outcomeOf(zk, { operation: "dns-records-for-a-zone-create-dns-record" });
    assert.ok(["confirmed", "unknown"].includes(entry.outcome), "the record was made, so it is not refused");
  });

  test("U3: HTML with 200 where a list is judged", async () => {
    await zk.sim.faults([{ match: { method: "GET", path: "*/dns_records" }, times: 1, action: { status: 200, headers: { "content-type": "text/html" }, body: "<html>login</html>" } }]);
    const answer = await zk.cf("GET", RECORDS, undefined, { key: keys["acme-bot"] });
    assert.deepEqual([answer.status, answer.code], [502, 20070], answer.text);
  });

  test("U3: an error body too large to be searched is withheld", async () => {
    await zk.sim.faults([{ match: { method: "GET", path: "*/dns_records" }, times: 1, action: { status: 400, body: "x".repeat(100_000) } }]);
    const answer = await zk.cf("GET", RECORDS, undefined, { key: keys.editor });
    assert.deepEqual([answer.status, answer.code], [502, 20070], answer.text);
  });
});

test("U2: a redirect does not carry the legacy credential off either", async (t) => {
  const { zk: legacy, keys: own } = await startWithKeys(["editor"], {
    secrets: { CLOUDFLARE_API_TOKEN: "", CLOUDFLARE_API_KEY: zk.sim.state.legacy.key },
    vars: { CLOUDFLARE_EMAIL: zk.sim.state.legacy.email },
  });
  t.after(() => legacy.stop());
  await legacy.sim.faults([{ match: { method: "GET", path: "*/dns_records" }, times: 1, action: { redirect: `${elsewhereUrl}/steal` } }]);
  const answer = await legacy.cf("GET", RECORDS, undefined, { key: own.editor });
  assert.deepEqual([answer.status, answer.code], [502, 20071], answer.text);
  assert.deepEqual(elsewhereSaw, []);
  const plain = await legacy.cf("GET", RECORDS, undefined, { key: own.editor });
  assert.equal(plain.status, 200, plain.text);
  const sent = headersOf((await legacy.sim.ledger()).at(-1));
  assert.deepEqual([sent["x-auth-key"], sent.authorization], [zk.sim.state.legacy.key, undefined]);
  await legacy.sim.faults([{ match: { method: "GET", path: "*/dns_records" }, times: 1, action: { echo: "token" } }]);
  const echoed = await legacy.cf("GET", RECORDS, undefined, { key: own.editor });
  assert.deepEqual([echoed.status, echoed.code], [502, 20072], "U1 holds for the legacy key as well");
  assert.match((await legacy.request("GET", "/readyz", undefined, { key: null })).text, /Global API Key/);
});

describe("T8: keys", () => {
  test("T8: revoked, expired, unknown, altered and malformed keys get the same answer", async () => {
    const revoked = await zk.mint("editor");
    await zk.revoke("editor", revoked.id);
    const expiring = await zk.mint("editor", { expires_on: new Date(Date.now() + 1_100).toISOString() });
    const gone = Date.now() + 1_200;
    const secret = (bytes) => randomBytes(bytes).toString("base64url");
    const { id, key: live } = await zk.mint("editor");
    const flipped = live.endsWith("A") ? `${live.slice(0, -1)}B` : `${live.slice(0, -1)}A`;
    const candidates = {
      revoked: revoked.key,
      unknown: secret(30),
      "of a known id": `${id}${secret(21)}`,
      "one character off": flipped,
      truncated: live.slice(0, -1),
      extended: `${live}A`,
      "in another case": live.toLowerCase() === live ? live.toUpperCase() : live.toLowerCase(),
      "the root key": zk.rootKey,
      "the upstream token": zk.sim.state.token,
      "an id alone": id,
      short: "x",
      long: "x".repeat(5_000),
      sql: "' OR 1=1 --",
    };
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, gone - Date.now())));
    candidates.expired = expiring.key;
    const shape = ({ status, text, headers }) => ({ status, text, type: headers["content-type"] });
    const expected = shape(await zk.cf("GET", RECORDS, undefined, { key: candidates.unknown }));
    assert.equal(expected.status, 401);
    for (const [what, key] of Object.entries(candidates)) {
      const mark = await zk.sim.mark();
      assert.deepEqual(shape(await zk.cf("GET", RECORDS, undefined, { key })), expected, what);
      assert.deepEqual(shape(await zk.cf("GET", RECORDS, undefined, { key: null, headers: { "x-auth-key": key } })), expected, what);
      assert.deepEqual(await sentSince(mark), []);
    }
    assert.equal((await zk.cf("GET", RECORDS, undefined, { key: live })).status, 200);
  });

  test("T8: a key in a URL or a cookie is none", async () => {
    for (const target of [`${RECORDS}?access_token=${keys.editor}`, `${RECORDS}?key=${keys.editor}`]) {
      await refused(zk, () => raw(zk, "GET", BASE + target), { status: 401, code: 20010 });
    }
    await refused(zk, () => raw(zk, "GET", BASE + RECORDS, { headers: [`Cookie: key=${keys.editor}`] }), { status: 401, code: 20010 });
    assert.deepEqual(await zk.filesContaining(keys.editor), []);
  });
});

test("connections that break off in the middle leave the Worker serving", async () => {
  const { hostname, port } = new URL(zk.url);
  const mark = await zk.sim.mark();
  await Promise.all(
    Array.from({ length: 10 }, (_, index) =>
      new Promise((resolve) => {
        const socket = net.connect(Number(port), hostname, () => {
          const head = `POST ${BASE}${RECORDS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${keys["acme-bot"]}\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"type":"TXT"`;
          socket.write(head.slice(0, head.length - index * 5), () => socket.destroy());
        });
        socket.on("error", () => {});
        socket.on("close", resolve);
      }),
    ),
  );
  assert.equal((await zk.cf("GET", "/user/tokens/verify", undefined, { key: keys["acme-bot"] })).status, 200);
  assert.deepEqual(await sentSince(mark), []);
});
