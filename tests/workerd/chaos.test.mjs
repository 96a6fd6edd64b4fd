// What takes a minute of real time, as leases and calls under way are told by the clock: a short form of
// `npm run chaos`, and a write whose answer was lost.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { COM } from "./lib/cases.mjs";
import { chaos } from "./lib/chaos.mjs";
import { assertSame, disturb, document, ended, eventsOf, recordsOf, start } from "./lib/jobs.mjs";
import { Zonekeeper } from "./lib/zonekeeper.mjs";

describe("with time", { concurrency: 3 }, () => {
  test("runs come through kill -9 of workerd, none of them lost and nothing doubled", async (t) => {
    const { rows, violations } = await chaos({ seed: 20_261_122, kills: 4, betweenMs: 4_000 });
    t.diagnostic(rows.map(([name, value]) => `${name}: ${value}`).join(", "));
    assert.deepEqual(violations, []);
  });

  for (const [reset, calls, found] of [
    ["after", 1, "Step 1 happened, as reading back showed."],
    ["before", 2, "Step 1 did not happen, as reading back showed; it is made again."],
  ]) {
    test(`a batch whose answer was lost ${reset} it happened is looked for, and made ${calls === 1 ? "once" : "again"}`, async (t) => {
      const params = { zones: ["example.com"] };
      const jobs = [
        { name: "snapshot", kind: "dns.snapshot", params },
        { name: "restore", kind: "dns.restore", params },
      ];
      const zk = await Zonekeeper.start({ config: document(jobs) });
      t.after(() => zk.stop());
      const before = await recordsOf(zk, COM);
      await ended(zk, await start(zk, "snapshot"));
      await disturb(zk);
      const mark = await zk.sim.mark();
      await zk.sim.faults([{ match: { method: "POST", path: "*/batch" }, times: 1, action: { reset } }]);
      const id = await start(zk, "restore");
      const run = await ended(zk, id, { withinMs: 100_000 });
      assert.equal(run.state, "succeeded", JSON.stringify(run));
      assert.deepEqual(run.progress, { done: 3, total: 3 });
      assertSame(await recordsOf(zk, COM), before);
      assert.equal((await zk.sim.writes({ after: mark })).length, calls);
      const events = await eventsOf(zk, id);
      assert.ok(events.includes(found), events.join("\n"));
      const entries = (await zk.audit({ limit: 100 })).filter(({ run_id, path }) => run_id === id && path.endsWith("/batch"));
      assert.deepEqual(entries.map(({ outcome }) => outcome), reset === "after" ? ["settled"] : ["confirmed", "settled"]);
    });
  }
});
