// Snapshots of a zone's records and their restoration, and what the largest runs take of an invocation.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { COM, CONFIG, RECORDS, challenge } from "./lib/cases.mjs";
import {
  ORG,
  PURGE,
  allRecords,
  assertSame,
  disturb,
  document,
  ended,
  hurry,
  purges,
  recordsOf,
  runOf,
  start,
  urls,
  used,
  waiting,
} from "./lib/jobs.mjs";
import { Zonekeeper } from "./lib/zonekeeper.mjs";

const ZONE = { zones: ["example.com"] };
const JOBS = [
  { name: "snapshot", kind: "dns.snapshot", params: ZONE },
  { name: "restore", kind: "dns.restore", params: ZONE },
  { name: "purge", kind: "cache.purge", params: { zones: ["example.org"], files: urls(1, "example.org") } },
];

/** Subrequests that a Worker of the free plan has in one invocation. */
const SUBREQUESTS = 50;
const MAX_MEMORY = 64 << 20;

async function snapshotOf(zk, body) {
  const run = await ended(zk, await start(zk, "snapshot", body), { withinMs: 60_000 });
  assert.equal(run.state, "succeeded", JSON.stringify(run));
  const step = Object.values(run.result).find(({ snapshot }) => snapshot);
  return { id: step.snapshot, run };
}

async function restored(zk, body) {
  const run = await ended(zk, await start(zk, "restore", body), { withinMs: 120_000 });
  assert.equal(run.state, "succeeded", JSON.stringify(run));
  return run;
}

describe("snapshots", () => {
  test("a snapshot, its difference, its export, and the zone restored from it", async (t) => {
    const zk = await Zonekeeper.start({ config: document(JOBS) });
    t.after(() => zk.stop());
    const before = await recordsOf(zk, COM);
    const { id, run } = await snapshotOf(zk);
    assert.match(run.reason, /^Done with \d+ calls?\.$/);

    const [listed, ...others] = (await zk.api("GET", "/snapshots?zone=example.com")).json.result;
    assert.deepEqual(others, []);
    assert.equal(listed.id, id);
    assert.equal(listed.records, before.length);
    assert.equal(listed.run_as, "nightly");
    assert.deepEqual((await zk.api("GET", `/snapshots/${id}`)).json.result, listed);
    assert.deepEqual((await zk.api("GET", `/snapshots?zone=${COM}`)).json.result, [listed]);
    assert.deepEqual((await zk.api("GET", "/snapshots?zone=example.net")).json.result, []);

    const same = (await zk.api("GET", `/snapshots/${id}/difference`)).json.result;
    assert.deepEqual([same.deleted, same.changed, same.created], [0, 0, 0]);
    await disturb(zk);
    const other = (await zk.api("GET", `/snapshots/${id}/difference?to=now`)).json.result;
    assert.deepEqual([other.deleted, other.changed, other.created], [1, 1, 1], JSON.stringify(other));
    assert.equal(other.lines.length, 3);

    const exported = await zk.api("GET", `/snapshots/${id}/export`);
    assert.equal(exported.status, 200, exported.text);
    assert.match(exported.headers["content-type"], /^text\/plain/);
    assert.match(exported.text, /^api\.example\.com\.\s+300\s+IN\s+A\s+192\.0\.2\.20/m);
    assert.ok(!exported.text.includes("stray"));

    const mark = await zk.sim.mark();
    const planned = await restored(zk, { dry_run: true });
    assert.deepEqual(await zk.sim.writes({ after: mark }), []);
    assert.equal(planned.result.changes, 3, JSON.stringify(planned.result));

    const done = await restored(zk);
    assert.deepEqual(done.progress, { done: 3, total: 3 });
    assertSame(await recordsOf(zk, COM), before);
    const writes = await zk.sim.writes({ after: mark });
    assert.deepEqual(writes.map(({ method, path }) => `${method} ${path}`), [`POST /client/v4/zones/${COM}/dns_records/batch`]);
    const entry = (await zk.audit({ limit: 100 })).find((entry) => entry.run_id === done.id && entry.method === "POST" && entry.path.startsWith("/client"));
    assert.equal(entry.outcome, "confirmed");
    assert.equal(entry.principal, "nightly");
    assert.match(entry.sentence, /example\.com/);

    const again = await restored(zk);
    assert.match(again.reason, /^Nothing had to be done: /);
    const second = await snapshotOf(zk);
    const between = (await zk.api("GET", `/snapshots/${id}/difference?to=${second.id}`)).json.result;
    assert.deepEqual([between.deleted, between.changed, between.created, between.unchanged], [0, 0, 0, before.length]);
  });

  test("the content is compared with its digest", async (t) => {
    const zk = await Zonekeeper.start({ config: document(JOBS) });
    t.after(() => zk.stop());
    const { id } = await snapshotOf(zk);
    const kv = await zk.kv();
    const text = await kv.get(`snapshots/${id}/0`);
    await kv.put(`snapshots/${id}/0`, text.replace("192.0.2.20", "192.0.2.66"));
    const mark = await zk.sim.mark();
    const run = await runOf(zk, await start(zk, "restore"));
    await waiting(zk, run.id);
    assert.deepEqual(await zk.sim.writes({ after: mark }), []);
    const answer = await zk.api("GET", `/snapshots/${id}/export`);
    assert.equal(answer.success, false);
    assert.match(answer.errors[0].message, /is not what was stored/);
    await kv.put(`snapshots/${id}/0`, text);
    await hurry(zk, run.id);
    assert.equal((await ended(zk, run.id)).state, "succeeded");
  });
});

describe("runs that nobody takes up", () => {
  test("show in readyz and among the alarms, until a tick sends them again", async (t) => {
    const zk = await Zonekeeper.start({ config: document(JOBS) });
    t.after(() => zk.stop());
    await zk.tick();
    const shown = async () => ({
      alarms: (await zk.api("GET", "/alarms")).json.result,
      ready: (await zk.request("GET", "/readyz", undefined, { key: null })).json,
    });
    const quiet = await shown();
    // The simulator's token may write zones, which no grant here gives anybody.
    const { warnings } = quiet.ready;
    assert.deepEqual(quiet, { alarms: [], ready: { status: "ready", warnings, alarms: [] } });
    await zk.sim.faults([{ match: { path: PURGE }, times: 1, action: { reset: "before" } }]);
    const id = await start(zk, "purge");
    await waiting(zk, id);
    // With workerd the message is gone. The rest is as it would be two minutes later.
    await zk.kill9();
    await zk.restart();
    const db = await zk.d1();
    await db.prepare("UPDATE runs SET wake_at = wake_at - 120000, enqueued_at = enqueued_at - 120000 WHERE id = ?1").bind(id).run();
    const { alarms, ready } = await shown();
    assert.equal(alarms.length, 1, JSON.stringify(alarms));
    assert.deepEqual([alarms[0].kind, alarms[0].job, alarms[0].run], ["run_stuck", "purge", id]);
    assert.match(alarms[0].message, /^Run [0-9a-f]+ of purge was cut off and not taken up again since .+\.$/);
    assert.deepEqual(ready, { status: "ready", warnings, alarms: ["run_stuck"] });
    await zk.tick();
    assert.equal((await ended(zk, id)).state, "succeeded");
    assert.deepEqual((await shown()).alarms, []);
  });
});

describe("what the largest runs take", () => {
  /** What the invocations since took at most; each is checked. */
  function takes(t, zk, what) {
    const all = used(zk);
    assert.ok(all.length > 0, "the build with faults says what it used");
    for (const { event, subrequests } of all) assert.ok(subrequests <= SUBREQUESTS, `${event} took ${subrequests} subrequests`);
    const most = Math.max(...all.map(({ subrequests }) => subrequests));
    const bytes = Math.max(...all.map(({ bytes }) => bytes));
    const messages = all.filter(({ event }) => event === "a message").length;
    t.diagnostic(`${what}: ${messages} messages, at most ${most} subrequests each, ${(bytes / (1 << 20)).toFixed(1)} MB of memory`);
    assert.ok(bytes < MAX_MEMORY, `${bytes} bytes of memory`);
  }

  test("10,000 URLs are 100 calls, none of them too early", async (t) => {
    const zk = await Zonekeeper.start({ variant: "faults", config: document(JOBS) });
    t.after(() => zk.stop());
    const mark = await zk.sim.mark();
    const from = Date.now();
    const files = urls(10_000, "example.org");
    const run = await ended(zk, await start(zk, "purge", { params: { files } }), { withinMs: 120_000 });
    assert.equal(run.state, "succeeded", JSON.stringify(run));
    const sent = await purges(zk, mark, () => true);
    assert.equal(sent.length, 100);
    assert.deepEqual(new Set(sent.flatMap(({ files }) => files)), new Set(files));
    assert.ok((await zk.sim.ledger({ after: mark })).every(({ status }) => status !== 429));
    assert.ok(sent.every(({ zone }) => zone === ORG));
    await zk.tick();
    takes(t, zk, `10,000 URLs in ${Date.now() - from} ms`);
  });

  test("a zone of 10,000 records, restored after a third of it was deleted", async (t) => {
    const zk = await Zonekeeper.start({ variant: "faults", config: document(JOBS) });
    t.after(() => zk.stop());
    await zk.sim.fill(COM, 10_000);
    const before = await recordsOf(zk, COM);
    const from = Date.now();
    await snapshotOf(zk);
    const snapshotMs = Date.now() - from;
    const gone = (await allRecords(zk, COM)).filter((_, index) => index % 3 === 0).map(({ id }) => ({ id }));
    const batch = await zk.sim.cf("POST", `/zones/${COM}/dns_records/batch`, { deletes: gone });
    assert.equal(batch.status, 200, batch.text.slice(0, 300));
    assert.equal((await recordsOf(zk, COM)).length, before.length - gone.length);
    const mark = await zk.sim.mark();
    const restoreFrom = Date.now();
    await restored(zk);
    const restoreMs = Date.now() - restoreFrom;
    assertSame(await recordsOf(zk, COM), before);
    const writes = await zk.sim.writes({ after: mark });
    takes(t, zk, `${before.length} records: snapshot in ${snapshotMs} ms, restored in ${restoreMs} ms with ${writes.length} calls`);
  });

  test("a tick with 30 lost writes to look for and 20 jobs that are due", async (t) => {
    const jobs = Array.from({ length: 20 }, (_, index) => ({
      name: `job-${index}`,
      kind: "cache.purge",
      schedule: "* * * * *",
      params: { zones: ["example.com"], tags: [`tag-${index}`] },
    }));
    const work = document(jobs);
    const config = { ...CONFIG, ...work, principals: [...CONFIG.principals, ...work.principals], grants: [...CONFIG.grants, ...work.grants] };
    const zk = await Zonekeeper.start({ variant: "faults", config });
    t.after(() => zk.stop());
    const { key } = await zk.mint("acme-bot");
    await zk.sim.faults([
      { match: { method: "POST", path: "*/dns_records" }, action: { reset: "after" } },
      { match: { method: "GET" }, action: { status: 503 } },
    ]);
    const lost = await Promise.all(Array.from({ length: 30 }, (_, index) => zk.cf("POST", RECORDS, challenge(`w${index}`), { key })));
    await zk.sim.clearFaults();
    assert.deepEqual(new Set(lost.map(({ status }) => status)), new Set([502]));
    const from = Date.now();
    for (let minute = 1; minute <= 3; minute += 1) await zk.tick(from + minute * 60_000);
    const entries = await zk.audit({ operation: "dns-records-for-a-zone-create-dns-record", limit: 100 });
    assert.deepEqual(entries.map(({ outcome }) => outcome), entries.map(() => "settled"));
    assert.equal(entries.length, 30);
    takes(t, zk, "ticks");
  });
});
