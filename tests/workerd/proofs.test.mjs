// The two things most likely to go wrong in an isolate that many requests share: a burst that meets a cold
// or ageing view, and a panic in the midst of writes.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CONFIG, RECORDS, bodyOf, challenge, startWithKeys } from "./lib/cases.mjs";
import { Zonekeeper, until } from "./lib/zonekeeper.mjs";

const BURST = 30;

/** Thirty identical calls at once; the answers that are not 200. */
async function burst(call) {
  const answers = await Promise.all(Array.from({ length: BURST }, call));
  return answers.filter(({ status }) => status !== 200).map(({ status, text }) => `${status} ${text}`);
}

describe("30 parallel reads", () => {
  test("are all answered, in many rounds", async (t) => {
    const { zk, keys } = await startWithKeys(["acme-bot", "editor"]);
    t.after(() => zk.stop());
    const paths = [RECORDS, "/zones", "/user/tokens/verify"];
    for (let round = 0; round < 12; round += 1) {
      for (const key of [keys["acme-bot"], keys.editor]) {
        const path = paths[round % paths.length];
        assert.deepEqual(await burst(() => zk.cf("GET", path, undefined, { key })), [], `round ${round}, ${path}`);
      }
    }
  });

  test("are all answered right after a fresh start, the store not even migrated", async (t) => {
    const zk = await Zonekeeper.start();
    t.after(() => zk.stop());
    assert.deepEqual(await burst(() => zk.api("GET", "/config")), []);
  });

  test("are all answered right after a restart, cold", async (t) => {
    const { zk, keys } = await startWithKeys(["acme-bot"]);
    t.after(() => zk.stop());
    for (let round = 0; round < 3; round += 1) {
      await zk.restart();
      assert.deepEqual(await burst(() => zk.cf("GET", RECORDS, undefined, { key: keys["acme-bot"] })), [], `round ${round}`);
    }
  });

  test("are all answered while the view they share expires", async (t) => {
    const { zk, keys } = await startWithKeys(["acme-bot"]);
    t.after(() => zk.stop());
    const call = () => zk.cf("GET", "/user/tokens/verify", undefined, { key: keys["acme-bot"] });
    for (let round = 0; round < 2; round += 1) {
      // A view is believed for five seconds; left alone for longer, the whole burst finds it expired.
      await sleep(5_100);
      const spread = Array.from({ length: BURST }, async (_, index) => {
        await sleep(index % 10);
        return call();
      });
      const failed = (await Promise.all(spread)).filter(({ status }) => status !== 200);
      assert.deepEqual(failed.map(({ status, text }) => `${status} ${text}`), [], `round ${round}`);
    }
    // Kept busy across the age at which it is read again behind the answers.
    for (const end = Date.now() + 3_000; Date.now() < end; ) assert.deepEqual(await burst(call), []);
  });
});

describe("a panic beside five writes in flight", () => {
  for (const point of ["before_intent", "after_intent", "after_send"]) {
    test(`at ${point}: each write is on record and is settled`, async (t) => {
      const { zk, keys } = await startWithKeys(["acme-bot"], { variant: "faults" });
      t.after(() => zk.stop());
      const key = keys["acme-bot"];
      const labels = ["one", "two", "three", "four", "five"];
      await zk.sim.faults([{ match: { method: "POST", path: "*/dns_records" }, times: labels.length, action: { delay_ms: 1_500 } }]);
      // The runtime cancels what the panic left hanging only after half a minute; a caller need not wait for it.
      const write = (label, headers) => zk.cf("POST", RECORDS, challenge(label), { key, headers, timeoutMs: 4_000 }).catch((error) => ({ error }));
      const flight = labels.map((label) => write(label));
      await until(async () => (await zk.sim.writes()).length === labels.length, { what: "five writes in flight" });
      const panicked = await write("panicked", { "Zonekeeper-Fault": `panic:${point}` });
      assert.notEqual(panicked.status, 200, panicked.text);
      const answers = await Promise.all(flight);

      // The Worker goes on serving.
      await until(async () => (await zk.cf("GET", "/user/tokens/verify", undefined, { key })).status === 200, { what: "an answer after the panic" });
      const sentLabels = (await zk.sim.writes()).map((entry) => JSON.parse(bodyOf(entry)).name.split(".")[1]);
      const expected = point === "after_send" ? [...labels, "panicked"] : labels;
      assert.deepEqual(sentLabels.toSorted(), expected.toSorted(), "each write reached the API once");

      const now = Date.now();
      const intents = () => zk.audit({ operation: "dns-records-for-a-zone-create-dns-record", limit: 100 });
      const before = await intents();
      assert.equal(before.length, point === "before_intent" ? 5 : 6);
      for (const label of labels) assert.equal(named(before, label).length, 1, label);
      const open = before.filter(({ outcome }) => outcome === "pending");

      await zk.tick(now + 60_000);
      await zk.tick(now + 120_000);
      const after = await intents();
      assert.deepEqual(after.map(({ id }) => id).toSorted(), before.map(({ id }) => id).toSorted());
      for (const label of labels) {
        const [entry] = named(after, label);
        const answer = answers[labels.indexOf(label)];
        if (answer.status === 200) assert.ok(["confirmed", "settled"].includes(entry.outcome), `${label}: ${entry.outcome}`);
        else assert.equal(entry.outcome, "settled", `${label}: ${answer.status} ${entry.sentence}`);
        if (entry.outcome === "settled") assert.match(entry.sentence, /reading back showed that it happened\.$/);
      }
      for (const { id } of open) assert.equal(after.find((entry) => entry.id === id).outcome, "settled");
      if (point !== "before_intent") {
        const [entry] = named(after, "panicked");
        assert.equal(entry.outcome, "settled");
        assert.match(entry.sentence, point === "after_send" ? /showed that it happened/ : /found no trace of it/);
      }

      // Every open one went through `unknown`, which stays on record beside its settlement.
      const db = await zk.d1();
      const { results } = await db.prepare("SELECT o.id, o.outcome FROM audit_outcomes o JOIN audit_settlements s ON s.id = o.id").all();
      for (const { outcome } of results) assert.equal(outcome, "unknown");
      t.diagnostic(`${open.length} of ${before.length} writes were left open by the panic; ${results.length} settled`);

      const again = await zk.cf("POST", RECORDS, challenge("afterwards"), { key });
      assert.equal(again.status, 200, again.text);
    });
  }

  function named(entries, label) {
    return entries.filter(({ sentence }) => sentence.includes(`_acme-challenge.${label}.example.com`));
  }
});

test("a call that waits before it is sent is decided again", async (t) => {
  const { zk, keys } = await startWithKeys(["acme-bot"], { variant: "faults" });
  t.after(() => zk.stop());
  const { key, id } = await zk.mint("acme-bot");
  const mark = await zk.sim.mark();
  const waiting = zk.cf("POST", RECORDS, challenge("late"), { key, headers: { "Zonekeeper-Fault": "stall:after_intent" } });
  await until(async () => (await zk.audit({ principal: "acme-bot", limit: 1 }))[0]?.outcome === "pending", { what: "the intent" });
  await zk.revoke("acme-bot", id);
  const answer = await waiting;
  assert.deepEqual([answer.status, answer.code], [401, 20011], answer.text);
  assert.deepEqual(await zk.sim.writes({ after: mark }), []);
  const entry = await until(async () => {
    const [newest] = await zk.audit({ principal: "acme-bot", limit: 1 });
    return newest.outcome === "pending" ? undefined : newest;
  });
  assert.equal(entry.outcome, "refused");
  assert.equal((await zk.cf("GET", RECORDS, undefined, { key: keys["acme-bot"] })).status, 200);
});

test("a refusal of the release build names the fault header as not built", async (t) => {
  const zk = await Zonekeeper.start({ config: CONFIG });
  t.after(() => zk.stop());
  const { key } = await zk.mint("acme-bot");
  const answer = await zk.cf("POST", RECORDS, challenge("x"), { key, headers: { "Zonekeeper-Fault": "panic:after_intent" } });
  assert.deepEqual([answer.status, answer.code], [501, 20061]);
});
