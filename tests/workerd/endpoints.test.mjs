// Thirty-one endpoints, each with exactly the permission group that opens it and with every group but those: the first
// passes to the simulator, the second is refused and nothing is sent.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { at } from "../../scripts/lib/paths.mjs";
import { COM, NET } from "./lib/cases.mjs";
import { Zonekeeper } from "./lib/zonekeeper.mjs";

const ACME = "a0000000000000000000000000000001";
const SCRIPT = "export default { fetch() { return new Response('ok'); } };";

/** A Worker of one module, as clients upload it: bytes, and the type they have. */
async function upload() {
  const form = new FormData();
  form.set("metadata", new Blob([JSON.stringify({ main_module: "index.js" })], { type: "application/json" }));
  form.set("index.js", new Blob([SCRIPT], { type: "application/javascript+module" }), "index.js");
  const response = new Response(form);
  return { bytes: Buffer.from(await response.arrayBuffer()), type: response.headers.get("content-type") };
}

const record = (content) => ({ type: "A", name: "endpoint.example.com", content, ttl: 60 });
const rule = { targets: [{ target: "url", constraint: { operator: "matches", value: "www.example.com/endpoint/*" } }], actions: [{ id: "cache_level", value: "bypass" }], status: "active" };

/**
 * `[name, method, path, what opens it, body]`, in an order in which each finds what it needs; `made` holds what earlier
 * calls made. What opens it is a permission group, `id:` and an operation id, or `any` for what is seen by whoever is
 * allowed anything there.
 */
const ENDPOINTS = [
  ["zones list", "GET", () => "/zones", "any"],
  ["zones get", "GET", () => `/zones/${COM}`, "any"],
  ["zones create", "POST", () => "/zones", "Zone Write", () => ({ name: "made.example", account: { id: ACME }, type: "full" })],
  ["zones delete", "DELETE", (made) => `/zones/${made["zones create"].id}`, "id:zones-0-delete"],
  ["dns records list", "GET", () => `/zones/${COM}/dns_records`, "DNS Read"],
  ["dns records create", "POST", () => `/zones/${COM}/dns_records`, "DNS Write", () => record("192.0.2.1")],
  ["dns records get", "GET", (made) => `/zones/${COM}/dns_records/${made["dns records create"].id}`, "DNS Read"],
  ["dns records put", "PUT", (made) => `/zones/${COM}/dns_records/${made["dns records create"].id}`, "DNS Write", () => record("192.0.2.2")],
  ["dns records patch", "PATCH", (made) => `/zones/${COM}/dns_records/${made["dns records create"].id}`, "DNS Write", () => ({ content: "192.0.2.3" })],
  ["dns records delete", "DELETE", (made) => `/zones/${COM}/dns_records/${made["dns records create"].id}`, "DNS Write"],
  ["rulesets list", "GET", () => `/zones/${COM}/rulesets`, "Zone WAF Read"],
  ["rulesets put", "PUT", () => `/zones/${COM}/rulesets/phases/http_request_firewall_custom/entrypoint`, "Zone WAF Write", () => ({ rules: [{ action: "block", expression: "(ip.src eq 192.0.2.1)" }] })],
  ["rulesets get", "GET", (made) => `/zones/${COM}/rulesets/${made["rulesets put"].id}`, "Zone WAF Read"],
  ["page rules create", "POST", () => `/zones/${COM}/pagerules`, "Page Rules Write", () => rule],
  ["page rules list", "GET", () => `/zones/${COM}/pagerules`, "Page Rules Read"],
  ["page rules delete", "DELETE", (made) => `/zones/${COM}/pagerules/${made["page rules create"].id}`, "Page Rules Write"],
  ["cache purge", "POST", () => `/zones/${COM}/purge_cache`, "Cache Purge", () => ({ files: ["https://example.com/endpoint"] })],
  ["workers put", "PUT", () => `/accounts/${ACME}/workers/scripts/endpoint`, "Workers Scripts Write", upload],
  ["workers list", "GET", () => `/accounts/${ACME}/workers/scripts`, "Workers Scripts Read"],
  ["workers get", "GET", () => `/accounts/${ACME}/workers/scripts/endpoint`, "Workers Scripts Read"],
  ["workers delete", "DELETE", () => `/accounts/${ACME}/workers/scripts/endpoint`, "Workers Scripts Write"],
  ["r2 create", "POST", () => `/accounts/${ACME}/r2/buckets`, "Workers R2 Storage Write", () => ({ name: "endpoint-bucket" })],
  ["r2 list", "GET", () => `/accounts/${ACME}/r2/buckets`, "Workers R2 Storage Read"],
  ["r2 get", "GET", () => `/accounts/${ACME}/r2/buckets/endpoint-bucket`, "id:r2-get-bucket"],
  ["custom certificates list", "GET", () => `/zones/${COM}/custom_certificates`, "SSL and Certificates Read"],
  ["universal ssl get", "GET", () => `/zones/${COM}/ssl/universal/settings`, "SSL and Certificates Read"],
  ["universal ssl patch", "PATCH", () => `/zones/${COM}/ssl/universal/settings`, "SSL and Certificates Write", () => ({ enabled: true })],
  ["load balancers list", "GET", () => `/zones/${COM}/load_balancers`, "Load Balancers Read"],
  ["load balancers create", "POST", () => `/zones/${COM}/load_balancers`, "Load Balancers Write", (pools) => ({ name: "endpoint-lb.example.com", default_pools: [pools[0].id], fallback_pool: pools[0].id })],
  ["accounts list", "GET", () => "/accounts", "any"],
  ["accounts get", "GET", () => `/accounts/${ACME}`, "any"],
];

/** What Cloudflare's schema says opens a call, but for what Zonekeeper corrects. */
const CORRECTED = { "POST /zones": ["Zone Write"] };

/** Groups by `METHOD /template` with blank parameters, and all of them. */
async function catalogue() {
  const opens = new Map();
  const all = new Set();
  for (const line of (await readFile(at("data", "operations.tsv"), "utf8")).split("\n")) {
    const [method, template, , groups] = line.split("\t");
    if (!template?.startsWith("/")) continue;
    const names = groups.split("|").filter((name) => name && !name.startsWith("Account Filter Lists"));
    opens.set(`${method} ${template.replaceAll(/\{[^}]*\}/g, "{}")}`, names);
    for (const name of names) all.add(name);
  }
  return { opens, all };
}

const shape = (method, path) => `${method} ${path.replaceAll(/\/[0-9a-f]{32}/g, "/{}").replace("/phases/http_request_firewall_custom/", "/phases/{}/").replace("/scripts/endpoint", "/scripts/{}").replace("/buckets/endpoint-bucket", "/buckets/{}")}`;
const slug = (name) => name.replaceAll(" ", "-");

let zk;
let keys;
before(async () => {
  const { opens, all } = await catalogue();
  const here = { accounts: ["Acme"], zones: ["*"] };
  const placeholder = Object.fromEntries(ENDPOINTS.map(([name]) => [name, { id: "0".repeat(32) }]));
  const principals = [];
  const grants = [];
  const add = (name, grant) => {
    principals.push({ name, kind: "key" });
    grants.push({ name, principals: [name], effect: "allow", ...grant });
  };
  for (const [name, method, path, opener] of ENDPOINTS) {
    const key = shape(method, path(placeholder));
    if (opener === "any") {
      // Anything on it shows it; everything on another does not.
      add(`with-${slug(name)}`, { permissions: ["DNS Read", "Workers Scripts Read"], zones: ["example.com"], accounts: ["Acme"] });
      add(`without-${slug(name)}`, { permissions: [...all], zones: ["example.net"], accounts: ["Globex"] });
      continue;
    }
    const accepted = CORRECTED[key] ?? opens.get(key);
    assert.ok(accepted, `the catalogue has no ${key}`);
    add(`with-${slug(name)}`, opener.startsWith("id:") ? { operations: [opener.slice(3)], ...here } : { permissions: [opener], ...here });
    const others = opener.startsWith("id:") ? [...all] : [...all].filter((group) => !accepted.includes(group));
    assert.ok(opener.startsWith("id:") || accepted.includes(opener), `${opener} does not open ${key}`);
    add(`without-${slug(name)}`, { permissions: others, ...here });
  }
  zk = await Zonekeeper.start({ config: { principals, grants } });
  keys = Object.fromEntries(await Promise.all(principals.map(async ({ name }) => [name, (await zk.mint(name)).key])));
});
after(() => zk?.stop());

test("each endpoint opens with its permission group and with no other", async (t) => {
  assert.equal(ENDPOINTS.length, 31);
  const made = {};
  for (const [name, method, path, opener, body] of ENDPOINTS) {
    const call = async (who) => {
      const sent = await body?.(zk.sim.state.pools);
      const headers = sent?.bytes ? { "content-type": sent.type } : {};
      return zk.cf(method, path(made), sent?.bytes ?? sent, { key: keys[`${who}-${slug(name)}`], headers });
    };
    const mark = await zk.sim.mark();
    const without = await call("without");
    if (opener === "any" && name.endsWith("list")) {
      const mine = name.startsWith("zones") ? COM : ACME;
      assert.equal(without.status, 200, without.text);
      assert.ok(!without.result.some(({ id }) => id === mine), `${name}: ${without.text}`);
      const seen = await call("with");
      assert.deepEqual(seen.result.map(({ id }) => id), [mine], `${name}: ${seen.text}`);
    } else {
      assert.equal(without.status, 403, `${name} without ${opener}: ${without.status} ${without.text}`);
      const sent = (await zk.sim.ledger({ after: mark })).filter((entry) => entry.method !== "GET");
      assert.deepEqual(sent, [], `${name}: something was written`);
      const allowed = await call("with");
      assert.ok(allowed.status >= 200 && allowed.status < 300, `${name} with ${opener}: ${allowed.status} ${allowed.text}`);
      made[name] = allowed.json?.result ?? {};
    }
    t.diagnostic(`${name.padEnd(26)} ${opener}`);
  }
});
