// Two Workers over one store: what one changes, the other obeys within five seconds, and until then and
// after it answers from memory.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CONFIG, RECORDS, challenge } from "./lib/cases.mjs";
import { Zonekeeper } from "./lib/zonekeeper.mjs";

const BOUND_MS = 5_000;
/** What a call may take on a busy machine on top of the bound. */
const MARGIN_MS = 1_500;

let zk;
before(async () => {
  zk = await Zonekeeper.start({ config: CONFIG, workers: 2 });
});
after(() => zk?.stop());

/** Calls until the answer changes, and returns how long that took from `since`. */
async function untilRefused(call, since, status) {
  for (;;) {
    const sent = Date.now();
    const answer = await call();
    if (answer.status === status) return { ms: sent - since, answer };
    assert.equal(answer.status, 200, answer.text);
    assert.ok(sent - since <= BOUND_MS + MARGIN_MS, `still answered ${sent - since} ms after the change`);
    await sleep(100);
  }
}

test("a key revoked through one Worker is refused by the other within 5 s", async (t) => {
  const { key, id } = await zk.mint("acme-bot");
  for (const worker of [0, 1]) assert.equal((await zk.cf("GET", RECORDS, undefined, { key, worker })).status, 200);
  await zk.revoke("acme-bot", id);
  const since = Date.now();
  assert.equal((await zk.cf("GET", RECORDS, undefined, { key, worker: 0 })).status, 401, "its own Worker refuses it at once");
  const { ms } = await untilRefused(() => zk.cf("GET", RECORDS, undefined, { key, worker: 1 }), since, 401);
  t.diagnostic(`refused after ${ms} ms`);
});

test("a grant changed through one Worker holds for the other within 5 s", async (t) => {
  const { key } = await zk.mint("acme-bot");
  let serial = 0;
  const write = (worker) => zk.cf("POST", RECORDS, challenge(`fresh-${(serial += 1)}`), { key, worker });
  for (const worker of [0, 1]) assert.equal((await write(worker)).status, 200);
  const narrower = structuredClone(CONFIG);
  narrower.grants[0].dns.names = ["_acme-challenge.other.**"];
  await zk.apply(narrower);
  const since = Date.now();
  assert.equal((await write(0)).status, 403);
  const { ms } = await untilRefused(() => write(1), since, 403);
  t.diagnostic(`refused after ${ms} ms`);
  const writes = (await zk.sim.writes()).length;
  assert.equal((await write(1)).status, 403);
  assert.equal((await zk.sim.writes()).length, writes);
  await zk.apply(CONFIG);
});

test("a new grant is seen by the other Worker as well", async () => {
  const { key } = await zk.mint("stranger");
  assert.equal((await zk.cf("GET", RECORDS, undefined, { key, worker: 1 })).status, 403);
  const wider = structuredClone(CONFIG);
  wider.grants.push({ name: "for-the-stranger", principals: ["stranger"], effect: "allow", permissions: ["DNS Read"], zones: ["example.com"] });
  await zk.apply(wider);
  const since = Date.now();
  let answer;
  do {
    await sleep(100);
    answer = await zk.cf("GET", RECORDS, undefined, { key, worker: 1 });
  } while (answer.status === 403 && Date.now() - since < BOUND_MS + MARGIN_MS);
  assert.equal(answer.status, 200, answer.text);
  await zk.apply(CONFIG);
});

test("an unchanged key is served from memory, and no longer than the memory may be believed", async (t) => {
  const { key } = await zk.mint("reader");
  const call = () => zk.cf("GET", RECORDS, undefined, { key, worker: 1 });
  // A key is kept once the Worker's view is as new as the key.
  for (const end = Date.now() + 2_500; Date.now() < end; await sleep(100)) assert.equal((await call()).status, 200);
  const db = await zk.d1();
  await db.prepare("ALTER TABLE control RENAME COLUMN config_version TO gone").run();
  const since = Date.now();
  try {
    assert.equal((await call()).status, 200, "it asks the store for every call");
    const { ms, answer } = await untilRefused(call, since, 503);
    assert.equal(answer.code, 20080);
    t.diagnostic(`served from memory for ${ms} ms`);
    const mark = await zk.sim.mark();
    for (const [method, body] of [["GET", undefined], ["POST", challenge("no-store")]]) {
      const refused = await zk.cf(method, RECORDS, body, { key, worker: 1 });
      assert.deepEqual([refused.status, refused.code], [503, 20080], refused.text);
    }
    assert.deepEqual(await zk.sim.ledger({ after: mark }), []);
  } finally {
    await db.prepare("ALTER TABLE control RENAME COLUMN gone TO config_version").run();
  }
  assert.equal((await call()).status, 200, "it serves again as soon as the store does");
});
