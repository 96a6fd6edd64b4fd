// kill -9 of workerd in the middle of writes: what reached the API was announced before, and what was
// announced is closed after the restart.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RECORDS, bodyOf, challenge, startWithKeys } from "./lib/cases.mjs";
import { until } from "./lib/zonekeeper.mjs";

const WRITES = 20;

for (const [what, faults, enough] of [
  ["while all of them wait for Cloudflare", [{ match: { method: "POST" }, action: { delay_ms: 3_000 } }], WRITES],
  ["as they come and go", [{ match: { method: "POST" }, action: { delay_ms: 40 } }], 5],
]) {
  test(`kill -9 in the middle of ${WRITES} writes, ${what}`, async (t) => {
    const { zk, keys } = await startWithKeys(["acme-bot"]);
    t.after(() => zk.stop());
    const key = keys["acme-bot"];
    await zk.sim.faults(faults);
    const labels = Array.from({ length: WRITES }, (_, index) => `w${index}`);
    const write = (label) => zk.cf("POST", RECORDS, challenge(label), { key }).catch(() => ({ status: undefined }));
    const flight =
      enough === WRITES
        ? labels.map(write)
        : [0, 1, 2, 3].map(async (lane) => {
            const answers = [];
            for (let index = lane; index < WRITES; index += 4) answers.push(await write(labels[index]));
            return answers;
          });
    // The runtime opens a few connections at a time, so how many are in flight is not ours to choose.
    await until(async () => (await zk.sim.writes()).length >= Math.min(enough, 6), { what: "writes in flight" });
    await zk.kill9();
    const answers = (await Promise.all(flight)).flat();
    await zk.restart();
    await zk.sim.clearFaults();
    // What the simulator had received is carried out though nobody waits for the answer.
    const sent = await until(
      async () => {
        const writes = await zk.sim.writes();
        return writes.every(({ status }) => status !== null) && writes;
      },
      { what: "the end of every call at the simulator" },
    ).catch(() => zk.sim.writes());

    const operation = "dns-records-for-a-zone-create-dns-record";
    const find = async () => new Map((await zk.audit({ operation, limit: 1000 })).map((entry) => [/_acme-challenge\.(w\d+)\./.exec(entry.sentence)?.[1], entry]));
    const intents = await find();
    const sentLabels = sent.map((entry) => JSON.parse(bodyOf(entry)).name.split(".")[1]);
    assert.equal(new Set(sentLabels).size, sentLabels.length, "nothing was sent twice");
    for (const label of sentLabels) assert.ok(intents.has(label), `${label} was sent without an intent`);

    const now = Date.now();
    await zk.tick(now + 60_000);
    await zk.tick(now + 120_000);
    const closed = await find();
    assert.deepEqual([...closed.keys()].toSorted(), [...intents.keys()].toSorted());
    const existing = new Set((await zk.sim.cf("GET", `${RECORDS}?per_page=1000&type=TXT`)).result.map(({ name }) => name));
    let settled = 0;
    for (const [label, { outcome, sentence }] of closed) {
      const exists = existing.has(`_acme-challenge.${label}.example.com`);
      if (outcome === "settled") {
        settled += 1;
        assert.match(sentence, exists ? /reading back showed that it happened\.$/ : /reading back found no trace of it\.$/, label);
      } else {
        assert.equal(outcome, "confirmed", `${label}: ${sentence}`);
        assert.ok(exists, `${label} is confirmed and not there`);
      }
    }
    for (const label of labels) {
      if (existing.has(`_acme-challenge.${label}.example.com`)) assert.ok(closed.has(label), `${label} exists without an intent`);
    }
    const confirmed = answers.filter(({ status }) => status === 200).length;
    t.diagnostic(`${sent.length} of ${WRITES} reached the API, ${intents.size} intents, ${confirmed} answered, ${settled} settled after the restart`);
    const again = await zk.cf("POST", RECORDS, challenge("afterwards"), { key });
    assert.equal(again.status, 200, again.text);
  });
}
