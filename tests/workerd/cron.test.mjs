// What fires without a caller: the minute's tick and the queue.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { RECORDS, challenge, entriesAfter, newestEntry, outcomeOf, startWithKeys } from "./lib/cases.mjs";
import { until } from "./lib/zonekeeper.mjs";

let zk;
let keys;
before(async () => {
  ({ zk, keys } = await startWithKeys(["acme-bot"]));
});
after(() => zk?.stop());

const CREATE = "dns-records-for-a-zone-create-dns-record";

/** A write whose outcome is unknown, having happened or not. */
async function unknownWrite(label, reset) {
  await zk.sim.faults([
    { match: { method: "POST" }, times: 1, action: { reset } },
    // Nor can it be read back at once.
    { match: { method: "GET" }, action: { status: 503 } },
  ]);
  const answer = await zk.cf("POST", RECORDS, challenge(label), { key: keys["acme-bot"] });
  await zk.sim.clearFaults();
  assert.equal(answer.status, 502, answer.text);
  const entry = await outcomeOf(zk, { operation: CREATE });
  assert.equal(entry.outcome, "unknown");
  return entry.id;
}

async function entry(id) {
  return (await zk.audit({ limit: 1000 })).find((candidate) => candidate.id === id);
}

test("an idle tick writes nothing and asks nobody", async () => {
  const mark = await zk.sim.mark();
  const newest = await newestEntry(zk);
  await zk.tick(Date.now());
  await zk.tick(Date.now() + 60_000);
  assert.deepEqual(await zk.sim.ledger({ after: mark }), []);
  assert.deepEqual(await entriesAfter(zk, newest), []);
});

test("a tick of an empty store, before anything else, ends well", async (t) => {
  const { Zonekeeper } = await import("./lib/zonekeeper.mjs");
  const fresh = await Zonekeeper.start();
  t.after(() => fresh.stop());
  await fresh.tick();
  assert.equal((await fresh.api("GET", "/config")).status, 200);
});

test("a tick settles what is unknown, once, however often and in whatever order it fires", async () => {
  const happened = await unknownWrite("happened", "after");
  const lost = await unknownWrite("lost", "before");
  const mark = await zk.sim.mark();
  const now = Date.now();
  await Promise.all([60_000, 60_000, 0, 120_000].map((ahead) => zk.tick(now + ahead)));
  await zk.tick(now + 60_000);
  assert.match((await entry(happened)).sentence, /showed that it happened/);
  assert.match((await entry(lost)).sentence, /found no trace of it/);
  const asked = (await zk.sim.ledger({ after: mark })).map(({ method }) => method);
  assert.ok(asked.every((method) => method === "GET"), "reading back only reads");
  const db = await zk.d1();
  for (const table of ["audit_outcomes", "audit_settlements"]) {
    for (const id of [happened, lost]) {
      const { n } = await db.prepare(`SELECT count(*) AS n FROM ${table} WHERE id = ?1`).bind(Number(id)).first();
      assert.equal(n, 1, table);
    }
  }
  const later = await zk.sim.mark();
  await zk.tick(now + 180_000);
  assert.deepEqual(await zk.sim.ledger({ after: later }), [], "what is settled is not asked about again");
});

test("a Cloudflare that is down leaves it unknown, and a later tick settles it", async () => {
  const id = await unknownWrite("down", "after");
  const now = Date.now();
  await zk.sim.faults([{ match: { method: "GET" }, action: { status: 503 } }]);
  await zk.tick(now + 60_000);
  assert.equal((await entry(id)).outcome, "unknown");
  await zk.sim.clearFaults();
  await zk.tick(now + 120_000);
  assert.equal((await entry(id)).outcome, "settled");
});

test("a tick does not close a call that is still under way", async () => {
  await zk.sim.faults([{ match: { method: "POST" }, times: 1, action: { delay_ms: 1_500 } }]);
  const call = zk.cf("POST", RECORDS, challenge("slow"), { key: keys["acme-bot"] });
  await until(async () => (await zk.audit({ operation: CREATE, limit: 1 }))[0]?.outcome === "pending", { what: "the intent" });
  await zk.tick(Date.now());
  assert.equal((await zk.audit({ operation: CREATE, limit: 1 }))[0].outcome, "pending");
  assert.equal((await call).status, 200);
  assert.equal((await outcomeOf(zk, { operation: CREATE })).outcome, "confirmed");
});

test("a call that is answered after a tick gave it up says itself how it ended", async () => {
  await zk.sim.faults([
    { match: { method: "POST" }, times: 1, action: { delay_ms: 1_500 } },
    { match: { method: "GET" }, action: { status: 503 } },
  ]);
  const call = zk.cf("POST", RECORDS, challenge("given-up"), { key: keys["acme-bot"] });
  call.catch(() => {});
  const [{ id }] = await until(async () => {
    const entries = await zk.audit({ operation: CREATE, limit: 1 });
    return entries[0]?.outcome === "pending" && entries;
  });
  // The ticks above came from a clock minutes ahead; what came after them is found all the same.
  await zk.tick(Date.now() + 60_000);
  assert.equal((await entry(id)).outcome, "unknown");
  assert.equal((await call).status, 200);
  const last = await until(
    async () => {
      const now = await entry(id);
      return now.outcome === "settled" && now;
    },
    { what: "its settlement" },
  );
  assert.match(last.sentence, /showed that it happened\.$|confirmed/);
  await zk.sim.clearFaults();
});

for (const queue of ["zonekeeper-runs", "zonekeeper-dead"]) {
  test(`${queue}: a foreign message is put away, and its neighbours with it`, async () => {
    const bodies = [{ run: "r1" }, "not an object", null, { run: { nested: [] } }, 7];
    const outcome = await zk.deliver(queue, bodies.map((body, index) => ({ id: `m${index}`, body })));
    assert.equal(outcome.outcome, "ok", JSON.stringify(outcome));
    assert.equal(outcome.ackAll || outcome.explicitAcks.length === bodies.length, true, JSON.stringify(outcome));
    assert.deepEqual(outcome.retryMessages ?? [], []);
    assert.notEqual(outcome.retryBatch?.retry, true);
    assert.ok(zk.logs.some(({ message }) => message.includes("m1")), "it is logged by its id");
    assert.ok(!JSON.stringify(zk.logs).includes("not an object"), "and not by its content");
  });
}
