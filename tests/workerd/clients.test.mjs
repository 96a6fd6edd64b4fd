// Real clients through the gateway, with nothing changed but base URL and credential.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import Cloudflare from "cloudflare";
import { COM, RECORDS, outcomeOf, startWithKeys } from "./lib/cases.mjs";
import { at } from "../../scripts/lib/paths.mjs";

let zk;
let keys;
let baseURL;
before(async () => {
  ({ zk, keys } = await startWithKeys(["acme-bot", "editor"]));
  baseURL = `${zk.url}/client/v4`;
});
after(() => zk?.stop());

/** Runs a program to its end and returns what it wrote. */
function program(command, args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}

async function collect(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}

describe("the official TypeScript SDK", () => {
  test("verifies, lists its zones, creates, edits, reads and deletes a record", async () => {
    const client = new Cloudflare({ apiToken: keys.editor, baseURL, maxRetries: 0 });
    assert.equal((await client.user.tokens.verify()).status, "active");
    const zones = await collect(client.zones.list());
    assert.deepEqual(zones.map(({ name }) => name), ["example.com"], "it sees its zones only");
    assert.deepEqual(await collect(client.zones.list({ name: "example.net" })), []);
    const zone_id = zones[0].id;
    const made = await client.dns.records.create({ zone_id, type: "A", name: "sdk", content: "192.0.2.60", ttl: 300 });
    assert.equal(made.name, "sdk.example.com");
    const edited = await client.dns.records.edit(made.id, { zone_id, type: "A", name: "sdk", content: "192.0.2.61", ttl: 300 });
    assert.equal(edited.content, "192.0.2.61");
    assert.equal((await client.dns.records.get(made.id, { zone_id })).content, "192.0.2.61");
    assert.deepEqual(await client.dns.records.delete(made.id, { zone_id }), { id: made.id });
    assert.equal((await outcomeOf(zk, { principal: "editor" })).outcome, "confirmed");
  });

  test("pages to the end of a filtered list", async () => {
    const client = new Cloudflare({ apiToken: keys["acme-bot"], baseURL, maxRetries: 0 });
    for (let index = 0; index < 5; index += 1) {
      await client.dns.records.create({ zone_id: COM, type: "TXT", name: `_acme-challenge.sdk${index}.example.com`, content: `"${index}"`, ttl: 60 });
    }
    const records = await collect(client.dns.records.list({ zone_id: COM, per_page: 2 }));
    assert.equal(records.length, 5);
    assert.deepEqual(new Set(records.map(({ type }) => type)), new Set(["TXT"]));
  });

  test("shows a refusal as what it is, and does not try it again", async () => {
    const client = new Cloudflare({ apiToken: keys["acme-bot"], baseURL, maxRetries: 2 });
    const mark = await zk.sim.mark();
    const error = await client.dns.records.create({ zone_id: COM, type: "A", name: "www", content: "192.0.2.1", ttl: 1 }).then(
      () => assert.fail("it went through"),
      (refusal) => refusal,
    );
    assert.ok(error instanceof Cloudflare.PermissionDeniedError, String(error));
    assert.equal(error.errors[0].code, 20020);
    assert.match(error.message, /acme-bot may not create A record/);
    assert.deepEqual(await zk.sim.ledger({ after: mark }), []);
    const rows = (await zk.audit({ principal: "acme-bot", decision: "deny" })).length;
    assert.equal(rows, 1, "one refusal, one row");
  });

  test("works with the legacy form of credentials", async () => {
    const client = new Cloudflare({ apiToken: null, apiKey: keys.editor, apiEmail: "anybody@example.com", baseURL, maxRetries: 0 });
    assert.deepEqual((await collect(client.zones.list())).map(({ name }) => name), ["example.com"]);
  });

  test("passes the whole flow that it passes without the gateway", async () => {
    const { code, output } = await program(process.execPath, [at("tests", "clients", "sdk-direct.mjs")], {
      CLOUDFLARE_BASE_URL: baseURL,
      CLOUDFLARE_API_TOKEN: keys.editor,
      CLIENT_ZONE: "example.com",
    });
    assert.equal(code, 0, output);
    assert.ok(output.match(/^ok /gm).length >= 20, output);
    assert.ok(!output.includes("FAIL"), output);
  });
});

describe("curl", () => {
  const curl = async (...args) => {
    const { code, output } = await program("curl", ["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}", ...args]);
    assert.equal(code, 0, output);
    const cut = output.lastIndexOf("\n");
    return { status: Number(output.slice(cut + 1)), json: JSON.parse(output.slice(0, cut)) };
  };

  test("with X-Auth-Email and X-Auth-Key", async () => {
    const { status, json } = await curl(`${baseURL}/zones?name=example.com`, "-H", "X-Auth-Email: me@example.com", "-H", `X-Auth-Key: ${keys.editor}`);
    assert.equal(status, 200);
    assert.deepEqual(json.result.map(({ name }) => name), ["example.com"]);
  });

  test("with a bearer token: create, purge, and a body of form type that is JSON", async () => {
    const auth = ["-H", `Authorization: Bearer ${keys.editor}`];
    const json = ["-H", "Content-Type: application/json"];
    const made = await curl(`${baseURL}${RECORDS}`, ...auth, ...json, "--data", '{"type":"A","name":"curl","content":"192.0.2.70","ttl":300}');
    assert.equal(made.status, 200);
    const purged = await curl(`${baseURL}/zones/${COM}/purge_cache`, ...auth, ...json, "--data", '{"hosts":["www.example.com"]}');
    assert.equal(purged.status, 200);
    const gone = await curl("-X", "DELETE", `${baseURL}${RECORDS}/${made.json.result.id}`, ...auth);
    assert.deepEqual([gone.status, gone.json.result], [200, { id: made.json.result.id }]);
    // Without a Content-Type curl says it is a form, which a judged body must not be.
    const form = await curl(`${baseURL}${RECORDS}`, ...auth, "--data", '{"type":"A","name":"curl","content":"192.0.2.70"}');
    assert.deepEqual([form.status, form.json.errors[0].code], [400, 20003]);
  });
});
