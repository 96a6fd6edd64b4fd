// A short form of `npm run chaos`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chaos } from "./lib/chaos.mjs";

test("runs come through kill -9 of workerd, none of them lost and nothing doubled", async (t) => {
  const { rows, violations } = await chaos({ seed: 20_261_122, kills: 4, betweenMs: 4_000 });
  t.diagnostic(rows.map(([name, value]) => `${name}: ${value}`).join(", "));
  assert.deepEqual(violations, []);
});
