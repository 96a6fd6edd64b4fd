// What the test files have in common: a configuration with a caller for every kind of grant, and how a
// refusal is checked.

import assert from "node:assert/strict";
import { Zonekeeper, until } from "./zonekeeper.mjs";

/** The seeded ids of the simulator. */
export const ACCOUNT = "a0000000000000000000000000000001";
export const OTHER_ACCOUNT = "a0000000000000000000000000000002";
export const COM = "c0000000000000000000000000000001";
export const NET = "c0000000000000000000000000000002";

/** The record collection of example.com, below `/client/v4`. */
export const RECORDS = `/zones/${COM}/dns_records`;

const KEYED = ["acme-bot", "editor", "reader", "admin", "named", "office", "stranger", "operator"];

/** One principal for each kind of grant that the tests need. */
export const CONFIG = {
  principals: KEYED.map((name) => ({ name, kind: "key" })),
  grants: [
    {
      name: "acme-challenges",
      principals: ["acme-bot"],
      effect: "allow",
      permissions: ["DNS Write"],
      zones: ["example.com"],
      dns: { names: ["_acme-challenge.**"], types: ["TXT"] },
    },
    {
      name: "edit-com",
      principals: ["editor"],
      effect: "allow",
      permissions: ["DNS Write", "Zone Read", "Cache Purge"],
      zones: ["example.com"],
    },
    { name: "read-com", principals: ["reader"], effect: "allow", permissions: ["DNS Read"], zones: ["example.com"] },
    {
      name: "admin-account",
      principals: ["admin"],
      effect: "allow",
      permissions: ["Account Settings Write", "Workers Scripts Write", "Workers KV Storage Write", "D1 Write", "API Tokens Write"],
      accounts: ["*"],
    },
    {
      name: "admin-zones",
      principals: ["admin"],
      effect: "allow",
      permissions: ["Zone Write", "DNS Write", "Cache Purge"],
      zones: ["*"],
    },
    {
      name: "named-operations",
      principals: ["named"],
      effect: "allow",
      operations: ["d1-query-database", "d1-raw-database-query", "account-members-add-member"],
      accounts: ["Acme"],
    },
    {
      name: "from-the-office",
      principals: ["office"],
      effect: "allow",
      permissions: ["DNS Read"],
      zones: ["example.com"],
      source_ips: ["203.0.113.0/24"],
    },
    {
      name: "operate",
      principals: ["operator"],
      effect: "allow",
      permissions: ["Zonekeeper Config Write", "Zonekeeper Audit Read"],
    },
  ],
};

/** A Zonekeeper with `CONFIG` and a key for each of `principals`: `{ zk, keys }`. */
export async function startWithKeys(principals = KEYED, options = {}) {
  const zk = await Zonekeeper.start({ config: CONFIG, ...options });
  const keys = {};
  for (const name of principals) keys[name] = (await zk.mint(name)).key;
  return { zk, keys };
}

/** A record that acme-bot may create. */
export function challenge(label, content = `"proof of ${label}"`) {
  return { type: "TXT", name: `_acme-challenge.${label}.example.com`, content, ttl: 60 };
}

/** The id of the newest audit entry, to be given to `entriesAfter`. */
export async function newestEntry(zk) {
  return Number((await zk.audit({ limit: 1 }))[0]?.id ?? 0);
}

/** Audit entries above `id`, newest first. */
export async function entriesAfter(zk, id, filter = {}) {
  return (await zk.audit({ limit: 1000, ...filter })).filter((entry) => Number(entry.id) > id);
}

/** The newest entry of an operation once its outcome is written, which happens after the answer. */
export function outcomeOf(zk, filter) {
  return until(
    async () => {
      const [entry] = await zk.audit({ limit: 1, ...filter });
      return entry && entry.outcome !== "pending" ? entry : undefined;
    },
    { what: "an outcome" },
  );
}

/**
 * Makes a call that must be refused by us: with this status and code, without anything upstream, and
 * with `rows` audit entries that say so. Returns the answer and its entry.
 */
export async function refused(zk, act, { status, code, message, rows = 1 }) {
  const mark = await zk.sim.mark();
  const newest = await newestEntry(zk);
  const answer = await act();
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.code, code, answer.text);
  assert.equal(answer.success, false);
  assert.equal(answer.errors.length, 1, answer.text);
  if (message) assert.match(answer.errors[0].message, message);
  const upstream = await zk.sim.ledger({ after: mark });
  assert.deepEqual(upstream.map(({ method, path }) => `${method} ${path}`), [], "something reached the API");
  const entries = await entriesAfter(zk, newest);
  assert.equal(entries.length, rows, JSON.stringify(entries));
  if (rows === 0) return { answer };
  const [entry] = entries;
  assert.equal(entry.decision, "deny");
  assert.equal(entry.status, status);
  assert.ok(entry.reason.length > 0 && entry.sentence.length > 0, JSON.stringify(entry));
  return { answer, entry };
}

/**
 * Sends a request byte by byte as written. `headers` are whole lines; `key` adds a bearer credential;
 * `body` gets a `Content-Length` unless `headers` say how long it is.
 */
export function raw(zk, method, target, { key, headers = [], body = "", host, timeoutMs } = {}) {
  const bytes = Buffer.from(body);
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${host ?? new URL(zk.url).host}`, "Connection: close"];
  if (key) lines.push(`Authorization: Bearer ${key}`);
  if (bytes.length > 0 && !headers.some((line) => /^(content-length|transfer-encoding):/i.test(line))) {
    lines.push(`Content-Length: ${bytes.length}`);
  }
  const head = Buffer.from(`${[...lines, ...headers].join("\r\n")}\r\n\r\n`, "latin1");
  return zk.raw(Buffer.concat([head, bytes]), { timeoutMs });
}

/** Headers of a ledger entry as an object; a repeated name is an error here. */
export function headersOf(entry) {
  const headers = {};
  for (const [name, value] of entry.headers) {
    assert.ok(!(name.toLowerCase() in headers), `${name} was sent twice`);
    headers[name.toLowerCase()] = value;
  }
  return headers;
}

/** The body of a ledger entry as text. */
export function bodyOf(entry) {
  return Buffer.from(entry.body_base64 ?? "", "base64").toString("utf8");
}
