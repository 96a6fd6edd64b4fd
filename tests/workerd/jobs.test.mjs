// Jobs from end to end: schedules, runs by the API, what goes wrong upstream, and who may do what.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { COM, NET } from "./lib/cases.mjs";
import {
  DEAD,
  HOUR,
  MINUTE,
  PURGE,
  RUNS,
  document,
  ended,
  eventsOf,
  hurried,
  hurry,
  purges,
  runOf,
  runsOf,
  start,
  urls,
  waiting,
} from "./lib/jobs.mjs";
import { Zonekeeper, until } from "./lib/zonekeeper.mjs";

const purge = (name, params = {}, rest = {}) => ({
  name,
  kind: "cache.purge",
  params: { zones: ["example.com"], files: urls(250), ...params },
  ...rest,
});

/** Entries of a run that are calls of its own, oldest first. */
async function writesOnRecord(zk, id) {
  const entries = await zk.audit({ limit: 1000 });
  return entries.filter((entry) => entry.run_id === id && entry.path?.endsWith("/purge_cache")).toReversed();
}

describe("schedules", () => {
  const year = new Date().getUTCFullYear() + 1;
  for (const [season, fires] of [
    ["winter", Date.UTC(year, 0, 15, 2, 0)],
    ["summer", Date.UTC(year, 6, 15, 1, 0)],
  ]) {
    test(`a purge at 3 in Berlin runs once, in ${season}, however often the tick comes`, async (t) => {
      const job = purge("nightly-purge", { files: ["https://www.example.com/"] }, { schedule: "0 3 * * *", timezone: "Europe/Berlin" });
      const zk = await Zonekeeper.start({ config: document([job]) });
      t.after(() => zk.stop());
      await zk.tick(fires - 2 * MINUTE);
      await zk.tick(fires - MINUTE);
      assert.deepEqual(await runsOf(zk, "nightly-purge"), []);
      await zk.tick(fires);
      const [{ id }] = await runsOf(zk, "nightly-purge");
      // To a tick that is months ahead a call under way would look forgotten.
      const run = await ended(zk, id);
      await Promise.all([zk.tick(fires), zk.tick(fires + 7_000)]);
      assert.equal((await runsOf(zk, "nightly-purge")).length, 1);
      assert.equal(run.state, "succeeded", JSON.stringify(run));
      assert.equal(run.slot, new Date(fires).toISOString());
      assert.equal(run.trigger, "schedule");
      assert.deepEqual(run.progress, { done: 1, total: 1 });
      for (const later of [MINUTE, HOUR, 2 * HOUR, 0, -MINUTE]) await zk.tick(fires + later);
      assert.equal((await runsOf(zk, "nightly-purge")).length, 1);
      assert.deepEqual(await purges(zk), [{ zone: COM, files: ["https://www.example.com/"] }]);
      const [entry, ...more] = await writesOnRecord(zk, id);
      assert.deepEqual(more, []);
      assert.equal(entry.principal, "nightly");
      assert.equal(entry.credential, `job nightly-purge, run ${id}`);
      assert.equal(entry.outcome, "confirmed");
      assert.match(entry.sentence, /^nightly .*purged 1 file of example\.com; allowed by nightly-work/);
      const next = (await zk.api("GET", "/jobs/nightly-purge")).json.result;
      assert.equal(next.last_run.id, id);
      assert.equal(next.open_runs, 0);
    });
  }

  test("overlap: skip, queue and cancel", async (t) => {
    const every = (name, overlap) => purge(name, { files: urls(3) }, { schedule: "* * * * *", overlap });
    const zk = await Zonekeeper.start({ config: document([every("skips", "skip"), every("queues", "queue"), every("cancels", "cancel")]) });
    t.after(() => zk.stop());
    const from = Math.floor(Date.now() / MINUTE) * MINUTE + HOUR;
    // Until the second tick nothing ends.
    await zk.sim.faults([{ match: { path: PURGE }, times: 1, action: { delay_ms: 1_500 } }]);
    await zk.tick(from);
    await until(async () => (await zk.sim.writes()).length === 1, { what: "the first purge" });
    await zk.tick(from + MINUTE);
    const states = async (job) => {
      const runs = await runsOf(zk, job);
      for (const { id } of runs) await ended(zk, id);
      return (await runsOf(zk, job)).toSorted((a, b) => (a.slot < b.slot ? -1 : 1)).map(({ state }) => state);
    };
    const found = { skips: await states("skips"), queues: await states("queues"), cancels: await states("cancels") };
    assert.deepEqual(found, {
      skips: ["succeeded", "cancelled"],
      queues: ["succeeded", "succeeded"],
      cancels: ["cancelled", "succeeded"],
    });
    const skipped = (await runsOf(zk, "skips")).find(({ state }) => state === "cancelled");
    assert.match(skipped.reason, /^Skipped, as run [0-9a-f]+ of the job was not at its end\.$/);
  });
});

describe("runs", () => {
  let zk;
  before(async () => {
    zk = await Zonekeeper.start({ config: document([purge("purge"), purge("net", { zones: ["example.net"], files: urls(1, "example.net") })]) });
    await zk.tick();
  });
  after(() => zk?.stop());

  test("250 URLs are three calls of 100, 100 and 50, each on record", async () => {
    const mark = await zk.sim.mark();
    const id = await start(zk, "purge");
    const run = await ended(zk, id);
    assert.equal(run.state, "succeeded", JSON.stringify(run));
    assert.deepEqual(run.progress, { done: 250, total: 250 });
    const sent = await purges(zk, mark);
    assert.deepEqual(sent.map(({ files }) => files.length), [100, 100, 50]);
    assert.deepEqual(sent.flatMap(({ files }) => files), urls(250));
    assert.deepEqual(run.steps.map(({ state, items, attempts }) => [state, items, attempts]), [
      ["done", 100, 1],
      ["done", 100, 1],
      ["done", 50, 1],
    ]);
    const entries = await writesOnRecord(zk, id);
    assert.deepEqual(entries.map(({ id }) => id), run.steps.map(({ audit }) => audit));
    assert.ok(entries.every(({ outcome, principal }) => outcome === "confirmed" && principal === "nightly"));
    const started = (await zk.audit({ limit: 1000 })).find((entry) => entry.operation === "zonekeeper-run-start" && entry.run_id === id);
    assert.match(started.sentence, /^root started a run of job purge; /);
  });

  test("an Idempotency-Key gives the same run again, and with another body 422", async () => {
    const mark = await zk.sim.mark();
    const headers = { "idempotency-key": "once" };
    const body = { params: { files: urls(2) } };
    const id = await start(zk, "purge", body, { headers });
    await ended(zk, id);
    const again = await zk.api("POST", "/jobs/purge/runs", body, { headers });
    assert.equal(again.status, 202, again.text);
    assert.deepEqual(again.json.result, { id, state: "succeeded" });
    const other = await zk.api("POST", "/jobs/purge/runs", { params: { files: urls(3) } }, { headers });
    assert.equal(other.status, 422, other.text);
    assert.equal(other.code, 20040);
    assert.equal((await purges(zk, mark)).length, 1);
    // Several at once are one as well.
    const many = await Promise.all(
      Array.from({ length: 5 }, () => zk.api("POST", "/jobs/purge/runs", body, { headers: { "idempotency-key": "at once" } })),
    );
    assert.deepEqual(new Set(many.map(({ status }) => status)), new Set([202]), many.map(({ text }) => text).join("\n"));
    assert.equal(new Set(many.map(({ json }) => json.result.id)).size, 1);
    await ended(zk, many[0].json.result.id);
  });

  test("a dry run shows the exact calls and sends nothing", async () => {
    const mark = await zk.sim.mark();
    const id = await start(zk, "purge", { dry_run: true });
    const run = await ended(zk, id);
    assert.equal(run.state, "succeeded");
    assert.match(run.reason, /^Planned only: 250 items in 1 zone: 3 calls\.$/);
    assert.deepEqual(run.steps.map(({ state }) => state), ["pending", "pending", "pending"]);
    const steps = (await zk.api("GET", `/runs/${id}/steps`)).json.result;
    assert.deepEqual(steps.map(({ work }) => [work.method, work.path, work.body.files.length]), [
      ["POST", `/client/v4/zones/${COM}/purge_cache`, 100],
      ["POST", `/client/v4/zones/${COM}/purge_cache`, 100],
      ["POST", `/client/v4/zones/${COM}/purge_cache`, 50],
    ]);
    assert.deepEqual(await zk.sim.writes({ after: mark }), []);
  });

  test("parameters of a run take the place of the job's", async () => {
    const mark = await zk.sim.mark();
    const id = await start(zk, "purge", { params: { zones: ["example.net"], files: [], tags: ["a", "b"] } });
    assert.equal((await ended(zk, id)).state, "succeeded");
    assert.deepEqual(await purges(zk, mark), [{ zone: NET, tags: ["a", "b"] }]);
  });

  for (const [what, action, calls] of [
    ["an answer of 500", { status: 500, body: { success: false, errors: [{ code: 10000, message: "down" }] } }, 2],
    ["a connection lost before the call happened", { reset: "before" }, 2],
    ["a connection lost after the call happened", { reset: "after" }, 2],
    ["half an answer", { half_body: true }, undefined],
    ["429 with retry-after 1", { status: 429, headers: { "retry-after": "1" }, body: { success: false, errors: [{ code: 971, message: "slow" }] } }, 2],
  ]) {
    test(`${what}: the call is made again, and the run ends well`, async () => {
      const mark = await zk.sim.mark();
      await zk.sim.faults([{ match: { path: PURGE }, times: 1, action }]);
      const id = await start(zk, "purge", { params: { files: urls(120) } });
      const run = await hurried(zk, id);
      await zk.sim.clearFaults();
      assert.equal(run.state, "succeeded", JSON.stringify(run));
      assert.deepEqual(run.progress, { done: 120, total: 120 });
      const seen = (await purges(zk, mark, () => true)).flatMap(({ files }) => files);
      assert.deepEqual(new Set(seen), new Set(urls(120)), "everything reached the API");
      if (calls) assert.equal(run.steps[0].attempts, calls, JSON.stringify(run.steps));
      assert.equal(run.steps[1].attempts, 1);
      const entries = await writesOnRecord(zk, id);
      assert.equal(entries.length, run.steps[0].attempts + 1, "each attempt is on record");
      for (const { outcome } of entries) assert.notEqual(outcome, "pending");
    });
  }

  test("what cannot be confirmed after all attempts ends unknown, and a retry makes up for it", async () => {
    await zk.sim.faults([{ match: { path: PURGE }, action: { reset: "before" } }]);
    const id = await start(zk, "purge", { params: { files: urls(1) } });
    const run = await hurried(zk, id);
    assert.equal(run.state, "unknown", JSON.stringify(run));
    assert.equal(run.reason, "Could not confirm whether step 1 happened, after 5 attempts.");
    await zk.sim.clearFaults();
    const retried = await zk.api("POST", `/runs/${id}/retry`);
    assert.equal(retried.status, 200, retried.text);
    assert.equal((await hurried(zk, id)).state, "succeeded");
  });

  test("a refused step does not stop the others, and a retry makes only that one again", async () => {
    await zk.sim.faults([
      { match: { path: PURGE }, after: 1, times: 1, action: { status: 400, body: { success: false, errors: [{ code: 1016, message: "no" }] } } },
    ]);
    const id = await start(zk, "purge");
    const run = await ended(zk, id);
    assert.equal(run.state, "failed");
    assert.equal(run.reason, "1 of 3 steps were refused; the rest is done.");
    assert.deepEqual(run.steps.map(({ state }) => state), ["done", "refused", "done"]);
    assert.match(run.steps[1].detail, /^Cloudflare answered 400: .*1016.*no/);
    const mark = await zk.sim.mark();
    const retried = await zk.api("POST", `/runs/${id}/retry`);
    assert.equal(retried.status, 200, retried.text);
    const last = await ended(zk, id);
    assert.equal(last.state, "succeeded", JSON.stringify(last));
    assert.deepEqual(last.progress, { done: 250, total: 250 });
    assert.deepEqual((await purges(zk, mark)).map(({ files }) => files), [urls(250).slice(100, 200)]);
    const again = await zk.api("POST", `/runs/${id}/retry`);
    assert.equal(again.status, 400, again.text);
    assert.equal(again.errors[0].message, "The run cannot be retried: it succeeded.");
  });

  test("a credential that is refused ends the run at once", async () => {
    const mark = await zk.sim.mark();
    await zk.sim.faults([
      { match: { path: PURGE }, after: 1, times: 1, action: { status: 403, body: { success: false, errors: [{ code: 10000, message: "Authentication error" }] } } },
    ]);
    const id = await start(zk, "purge");
    const run = await ended(zk, id);
    await zk.sim.clearFaults();
    assert.equal(run.state, "failed");
    assert.match(run.reason, /^The run was ended: Cloudflare answered 403/);
    assert.deepEqual(run.steps.map(({ state }) => state), ["done", "refused", "pending"]);
    assert.equal((await purges(zk, mark, () => true)).length, 2);
  });

  test("cancelled while a call is under way, a run ends after that call; a retry does the rest", async () => {
    const mark = await zk.sim.mark();
    await zk.sim.faults([{ match: { path: PURGE }, times: 1, action: { delay_ms: 1_000 } }]);
    const id = await start(zk, "purge");
    await until(async () => (await zk.sim.writes({ after: mark })).length === 1, { what: "the first call" });
    const asked = await zk.api("POST", `/runs/${id}/cancel`);
    assert.equal(asked.status, 200, asked.text);
    assert.equal(asked.json.result.cancel_requested, true);
    assert.equal(asked.json.result.state, "running");
    const run = await ended(zk, id);
    assert.equal(run.state, "cancelled");
    assert.deepEqual(run.steps.map(({ state }) => state), ["done", "pending", "pending"]);
    assert.equal((await purges(zk, mark)).length, 1);
    const again = await zk.api("POST", `/runs/${id}/cancel`);
    assert.equal(again.errors[0].message, "The run is at its end already: it was cancelled.");
    await zk.api("POST", `/runs/${id}/retry`);
    assert.equal((await ended(zk, id)).state, "succeeded");
    assert.deepEqual((await purges(zk, mark)).flatMap(({ files }) => files), urls(250));
    const events = await eventsOf(zk, id);
    for (const message of ["Asked for by root.", "root asked to cancel it.", "The run was cancelled.", "root asked to retry it."]) {
      assert.ok(events.includes(message), `${message} in ${events.join(" / ")}`);
    }
  });

  test("the runs of a paused job wait until it is resumed", async () => {
    const mark = await zk.sim.mark();
    const paused = await zk.api("POST", "/jobs/net/pause");
    assert.equal(paused.status, 200, paused.text);
    assert.equal(paused.json.result.paused_by, "root");
    const id = await start(zk, "net");
    await zk.deliver(RUNS, [{ body: id }]);
    await zk.tick();
    assert.equal((await runOf(zk, id)).state, "queued");
    assert.deepEqual(await zk.sim.writes({ after: mark }), []);
    const resumed = await zk.api("POST", "/jobs/net/resume");
    assert.equal(resumed.json.result.paused_at, null);
    await zk.tick();
    assert.equal((await ended(zk, id)).state, "succeeded");
  });

  test("a message that comes twice, late or with rubbish beside it does no harm", async () => {
    const mark = await zk.sim.mark();
    await zk.sim.faults([{ match: { path: PURGE }, times: 1, action: { delay_ms: 500 } }]);
    const id = await start(zk, "purge");
    const bodies = [id, id, "", "0", `${id}0`, { run: id }, null, 7, "f".repeat(32)];
    const delivered = await Promise.all([0, 1, 2].map(() => zk.deliver(RUNS, bodies.map((body) => ({ body })))));
    for (const { outcome } of delivered) assert.equal(outcome, "ok");
    assert.equal((await ended(zk, id)).state, "succeeded");
    await zk.deliver(RUNS, [{ body: id }, { body: id }]);
    assert.deepEqual((await purges(zk, mark)).flatMap(({ files }) => files), urls(250));
  });

  test("a run whose messages failed for good ends with dead_letter; one at its end stays as it is", async () => {
    await zk.api("POST", "/jobs/net/pause");
    const id = await start(zk, "net");
    await zk.deliver(DEAD, [{ body: id }, { body: "rubbish" }]);
    const run = await runOf(zk, id);
    assert.equal(run.state, "failed");
    assert.match(run.reason, /^dead_letter: /);
    await zk.api("POST", "/jobs/net/resume");
    await zk.api("POST", `/runs/${id}/retry`);
    assert.equal((await ended(zk, id)).state, "succeeded");
    await zk.deliver(DEAD, [{ body: id }]);
    assert.equal((await runOf(zk, id)).state, "succeeded");
    assert.ok(!(await eventsOf(zk, id)).at(-1).startsWith("dead_letter"), "nothing is said of a run that is at its end");
  });

  test("without the grant a run that waits stops at its next call", async () => {
    const mark = await zk.sim.mark();
    await zk.sim.faults([{ match: { path: PURGE }, after: 1, times: 1, action: { reset: "before" } }]);
    const id = await start(zk, "purge");
    await waiting(zk, id);
    await zk.apply(document([purge("purge", { zones: ["example.net"], files: urls(1, "example.net") })], ["example.net"]));
    await hurry(zk, id);
    const run = await ended(zk, id);
    assert.equal(run.state, "failed", JSON.stringify(run));
    assert.match(run.reason, /nightly/);
    assert.equal((await purges(zk, mark)).length, 1, "nothing was sent after that");
    const refusal = (await writesOnRecord(zk, id)).at(-1);
    assert.equal(refusal.decision, "deny", JSON.stringify(refusal));
  });
});

describe("what is wrong is said in one sentence, and nothing changes", () => {
  let zk;
  let version;
  const good = document([purge("purge"), purge("snapshot", undefined, { kind: "dns.snapshot", params: { zones: ["example.com"] } })], ["example.com"]);
  before(async () => {
    zk = await Zonekeeper.start({ config: good });
    ({ version } = (await zk.api("GET", "/config")).json.result);
  });
  after(() => zk?.stop());

  async function unchanged(act) {
    const mark = await zk.sim.mark();
    const answer = await act();
    assert.equal(answer.success, false, answer.text);
    assert.equal(answer.errors.length, 1, answer.text);
    assert.match(answer.errors[0].message, /^[^\n]*[^.]\.$/);
    assert.equal((await zk.api("GET", "/config")).json.result.version, version);
    assert.deepEqual((await zk.api("GET", "/runs")).json.result, []);
    assert.deepEqual(await zk.sim.writes({ after: mark }), []);
    return answer;
  }

  for (const [what, change, message] of [
    ["a parameter that the kind does not have", { params: { zones: ["example.com"], urls: [] } }, /jobs\[0\]\.params\.urls: there is no key "urls" here/],
    ["nothing to purge", { params: { zones: ["example.com"] } }, /jobs\[0\]\.params.*nothing to purge/],
    ["a URL that is none", { params: { zones: ["example.com"], files: ["www.example.com/"] } }, /jobs\[0\]\.params\.files\[0\]/],
    ["a schedule that never comes", { schedule: "0 0 30 2 *" }, /jobs\[0\]\.schedule.*never comes/],
    ["a schedule that is none", { schedule: "every day" }, /jobs\[0\]\.schedule/],
    ["a time zone that there is not", { schedule: "0 3 * * *", timezone: "Europe/Berlinn" }, /jobs\[0\]\.timezone.*no time zone "Europe\/Berlinn"/],
    ["a zone that there is not", { params: { zones: ["nowhere.example"], everything: true } }, /nowhere\.example/],
    ["a principal without the grant", { params: { zones: ["example.net"], everything: true } }, /jobs\[0\]\.run_as/],
    ["a principal that there is not", { run_as: "nobody" }, /jobs\[0\]\.run_as/],
    ["a kind that there is not", { kind: "cache.fill" }, /jobs\[0\]\.kind/],
  ]) {
    test(`applying ${what}`, async () => {
      const config = structuredClone(good);
      Object.assign(config.jobs[0], change);
      const answer = await unchanged(() => zk.api("PUT", "/config", config));
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.code, 20031, answer.text);
      assert.match(answer.errors[0].message, message);
    });
  }

  for (const [what, body, status, code, message] of [
    ["a parameter that the kind does not have", { params: { urls: [] } }, 400, 20032, /`params\.urls` does not fit: there is no key "urls" here/],
    ["a URL that is none", { params: { files: ["ftp://example.com/"] } }, 400, 20032, /`params\.files\[0\]`/],
    ["a zone that there is not", { params: { zones: ["nowhere.example"] } }, 400, 20032, /nowhere\.example/],
    ["a zone of another grant", { params: { zones: ["example.net"], files: urls(1, "example.net") } }, 403, 20020, /^Nothing was started: .*nightly/],
    ["a member that there is not", { parameters: {} }, 400, 20032, /parameters/],
    ["a body that is no JSON", "{", 400, 20003, /JSON/],
  ]) {
    test(`starting a run with ${what}`, async () => {
      const headers = typeof body === "string" ? { "content-type": "application/json" } : {};
      const answer = await unchanged(() => zk.api("POST", "/jobs/purge/runs", body, { headers }));
      assert.equal(answer.status, status, answer.text);
      assert.equal(answer.code, code, answer.text);
      assert.match(answer.errors[0].message, message);
    });
  }

  test("what is not there", async () => {
    for (const [method, path] of [
      ["POST", "/jobs/nothing/runs"],
      ["GET", "/jobs/nothing"],
      ["POST", "/jobs/nothing/pause"],
      ["GET", `/runs/${"0".repeat(32)}`],
      ["POST", `/runs/${"0".repeat(32)}/cancel`],
      ["POST", "/runs/x/retry"],
      ["GET", `/snapshots/${"0".repeat(32)}`],
    ]) {
      const answer = await unchanged(() => zk.api(method, path, method === "POST" ? {} : undefined));
      assert.equal(answer.status, 404, `${method} ${path}: ${answer.text}`);
      assert.equal(answer.code, 20090);
    }
  });
});
