// Writes of DNS records by id through the real zone object.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { RECORDS, challenge, outcomeOf, startWithKeys } from "./lib/cases.mjs";

let zk;
let keys;
before(async () => {
  ({ zk, keys } = await startWithKeys(["acme-bot", "editor"], { workers: 2 }));
});
after(() => zk?.stop());

const made = async (record) => (await zk.sim.cf("POST", RECORDS, record)).result.id;
const at = (id) => `${RECORDS}/${id}`;
const by = (name, worker = 0) => ({ key: keys[name], worker });
const calls = async (mark) => (await zk.sim.ledger({ after: mark })).map(({ method }) => method).join(" ");

describe("E3 the turn at a zone's records", () => {
  test("two writers in two isolates: each looks and acts before the other looks", async () => {
    const id = await made(challenge("shared"));
    const mark = await zk.sim.mark();
    await zk.sim.faults([{ match: { path: `*${id}` }, times: 100, action: { delay_ms: 40 } }]);
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) => zk.cf("PATCH", at(id), { content: `"${n}"` }, by("acme-bot", n % 2))),
    );
    await zk.sim.clearFaults();
    assert.deepEqual(answers.map(({ status }) => status), Array(8).fill(200), answers.map(({ text }) => text).join("\n"));
    assert.equal(await calls(mark), Array(8).fill("GET PATCH").join(" "));
  });

  test("a rename by somebody with wider rights cannot come between a look and an act", async () => {
    for (let round = 0; round < 5; round += 1) {
      const id = await made(challenge(`race${round}`));
      await zk.sim.faults([{ match: { path: `*${id}` }, times: 100, action: { delay_ms: 25 } }]);
      const [deleted, renamed] = await Promise.all([
        zk.cf("DELETE", at(id), undefined, by("acme-bot", 0)),
        zk.cf("PATCH", at(id), { name: `renamed${round}.example.com` }, by("editor", 1)),
      ]);
      await zk.sim.clearFaults();
      // Whoever came second met what the first one left.
      const both = `${deleted.status} ${renamed.status}`;
      assert.ok(["200 404", "403 200"].includes(both), `${both} ${deleted.text} ${renamed.text}`);
      const left = await zk.sim.cf("GET", at(id));
      assert.equal(left.status, both === "200 404" ? 404 : 200);
    }
  });

  test("a turn is given back when a call is refused, and when it failed upstream", async () => {
    const id = await made({ type: "A", name: "taken", content: "192.0.2.1", ttl: 300 });
    for (let n = 0; n < 5; n += 1) {
      assert.equal((await zk.cf("DELETE", at(id), undefined, by("acme-bot", n % 2))).status, 403);
      assert.equal((await zk.cf("PATCH", at(id), { content: "no address" }, by("editor", n % 2))).status, 400);
    }
    assert.equal((await zk.cf("DELETE", at(id), undefined, by("editor"))).status, 200);
  });

  test("whose turn it is outlives workerd", async () => {
    const id = await made(challenge("killed"));
    await zk.sim.faults([{ match: { method: "PATCH" }, times: 1, action: { delay_ms: 20_000 } }]);
    const mark = await zk.sim.mark();
    const cut = zk.cf("PATCH", at(id), { content: '"cut"' }, by("editor")).catch(() => undefined);
    while (!(await calls(mark)).endsWith("PATCH")) await new Promise((resolve) => setImmediate(resolve));
    await zk.kill9();
    await cut;
    await zk.restart();
    await zk.sim.clearFaults();
    // It may still be under way, so nobody has the turn before it ends by itself.
    const next = await zk.cf("PATCH", at(id), { content: '"next"' }, { ...by("acme-bot"), timeoutMs: 30_000 });
    assert.deepEqual([next.status, next.code], [503, 20080], next.text);
    assert.match(next.errors[0].message, /try again in a few seconds/);
    // Records that are made disturb nobody's look.
    const created = await zk.cf("POST", RECORDS, challenge("meanwhile"), by("acme-bot"));
    assert.equal(created.status, 200, created.text);
  });
});

describe("E3 changes by others", () => {
  test("what came of a call that is not what was allowed is an alarm", async () => {
    const { zk: fresh, keys: own } = await startWithKeys(["acme-bot"]);
    try {
      const id = (await fresh.sim.cf("POST", RECORDS, challenge("dashboard"))).result.id;
      await fresh.sim.faults([{ match: { method: "PATCH", path: `*${id}` }, times: 1, action: { delay_ms: 1_500 } }]);
      const mark = await fresh.sim.mark();
      const call = fresh.cf("PATCH", at(id), { comment: "mine" }, { key: own["acme-bot"] });
      const seen = async () => (await fresh.sim.ledger({ after: mark })).some(({ method }) => method === "PATCH");
      while (!(await seen())) await new Promise((resolve) => setImmediate(resolve));
      await fresh.sim.cf("PUT", at(id), { type: "TXT", name: "elsewhere.example.com", content: '"x"' });
      const answer = await call;
      assert.deepEqual([answer.status, answer.code], [502, 20070], answer.text);
      assert.doesNotMatch(answer.text, /elsewhere/);
      assert.ok(fresh.logs.some(({ message }) => message.includes("ALARM: toctou_detected")), "no alarm");
      const entry = await outcomeOf(fresh, { principal: "acme-bot" });
      assert.deepEqual([entry.outcome, entry.status, entry.upstream_calls], ["confirmed", 502, 2]);
    } finally {
      await fresh.stop();
    }
  });
});
