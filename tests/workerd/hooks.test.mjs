// Webhooks on the real runtime: signed deliveries that start runs, once, whatever is killed meanwhile.

import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { COM, raw } from "./lib/cases.mjs";
import { document, ended, purges, runOf } from "./lib/jobs.mjs";
import { Zonekeeper, until } from "./lib/zonekeeper.mjs";

const SECRETS = { HOOK_SITE: "It's a Secret to Everybody", HOOK_ALERTS: "cloudflare-secret-of-the-tests" };
const NEW = "the secret that comes after it";

const CONFIG = {
  ...document([{ name: "purge", kind: "cache.purge", params: { zones: ["example.com"], tags: ["all"] } }]),
  hooks: [
    {
      name: "site",
      type: "github",
      secrets: ["HOOK_SITE", "HOOK_NEW"],
      job: "purge",
      when: { event: "workflow_run", "/action": "completed", "/workflow_run/head_branch": ["main"] },
      params: { tags: "/tags" },
    },
    { name: "alerts", type: "cloudflare", secrets: ["HOOK_ALERTS"], job: "purge" },
  ],
};

const payload = (tag, branch = "main") =>
  JSON.stringify({ action: "completed", tags: [tag], workflow_run: { id: 9_000_000_812, head_branch: branch } });

const sign = (body, secret) => `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`;

/** A delivery as GitHub sends it. */
function deliver(zk, body, { id = randomUUID(), event = "workflow_run", secret = SECRETS.HOOK_SITE, name = "site", worker = 0, headers = {} } = {}) {
  return zk.request("POST", `/hooks/${name}`, body, {
    key: null,
    worker,
    headers: {
      "content-type": "application/json",
      "user-agent": "GitHub-Hookshot/0",
      "x-github-delivery": id,
      "x-github-event": event,
      "x-hub-signature-256": sign(body, secret),
      ...headers,
    },
  });
}

async function deliveries(zk, query = "") {
  const answer = await zk.api("GET", `/hooks/site/deliveries${query}`);
  assert.equal(answer.status, 200, answer.text);
  return answer.json.result;
}

describe("hooks", () => {
  let zk;
  before(async () => {
    zk = await Zonekeeper.start({ workers: 2, secrets: { ...SECRETS, HOOK_NEW: NEW }, config: CONFIG, egress: "guarded" });
    await zk.tick();
  });
  after(() => zk?.stop());

  test("a signed delivery of GitHub purges what it names, and is on record", async () => {
    const mark = await zk.sim.mark();
    const id = randomUUID();
    const answer = await deliver(zk, payload("release-1"), { id });
    assert.equal(answer.status, 202, answer.text);
    const { delivery, outcome, run } = answer.json.result;
    assert.deepEqual([answer.json.success, delivery, outcome], [true, id, "started"]);
    const finished = await ended(zk, run);
    assert.deepEqual([finished.state, finished.trigger, finished.started_by], ["succeeded", "hook", "hook site"], finished.reason);
    assert.deepEqual(await purges(zk, mark), [{ zone: COM, tags: ["release-1"] }]);
    const [entry] = await zk.audit({ operation: "zonekeeper-hook-delivery", run });
    assert.equal(
      entry.sentence,
      `hook site (GitHub delivery ${id}, workflow_run) started run ${run} of purge; it is proved by HOOK_SITE.`,
    );
    const [listed] = await deliveries(zk);
    assert.deepEqual([listed.id, listed.event, listed.outcome, listed.run_id, listed.audit], [id, "workflow_run", "started", run, entry.id]);
    // A body may have a megabyte, and is stored whole.
    const large = payload("large").replace("{", `{"padding":"${"x".repeat((1 << 20) - 120)}",`);
    const kept = await deliver(zk, large);
    assert.equal(kept.status, 202, kept.text);
    const { size } = await (await zk.d1()).prepare("SELECT length(body) AS size FROM hook_deliveries WHERE run = ?").bind(kept.json.result.run).first();
    assert.equal(size, large.length);
    await ended(zk, kept.json.result.run);
    const filtered = await deliver(zk, payload("release-1", "topic"));
    assert.deepEqual([filtered.status, filtered.json.result.outcome], [200, "filtered"], filtered.text);
    const test = await zk.request("POST", "/hooks/alerts", '{"text":"Hello World!"}', { key: null, headers: { "cf-webhook-auth": SECRETS.HOOK_ALERTS } });
    assert.deepEqual([test.status, test.json.result.outcome], [200, "test"], test.text);
  });

  test("T9: what proves nothing is refused with one answer, also when headers come twice on the wire", async () => {
    const body = payload("forged");
    const good = sign(body, SECRETS.HOOK_SITE);
    const lines = [
      "Content-Type: application/json",
      "X-GitHub-Delivery: twice",
      "X-GitHub-Event: workflow_run",
      `X-Hub-Signature-256: ${good}`,
      `X-Hub-Signature-256: ${good}`,
    ];
    const before = (await deliveries(zk)).length;
    const answers = [
      await deliver(zk, body, { secret: "another" }),
      await deliver(zk, body, { headers: { "x-hub-signature-256": good.toUpperCase().replace("SHA256", "sha256") } }),
      await deliver(zk, payload("altered"), { headers: { "x-hub-signature-256": good } }),
      await deliver(zk, body, { name: "nobody" }),
      await zk.request("POST", "/hooks/site", body, { key: null }),
      await raw(zk, "POST", "/hooks/site", { headers: lines, body }),
    ];
    for (const answer of answers) {
      assert.equal(answer.status, 401, answer.text);
      assert.equal(answer.text, answers[0].text);
    }
    assert.equal((await deliver(zk, "x".repeat((1 << 20) + 1))).status, 413);
    const chunked = `${((1 << 20) + 1).toString(16)}\r\n${"x".repeat((1 << 20) + 1)}\r\n0\r\n\r\n`;
    const large = await raw(zk, "POST", "/hooks/site", { headers: ["Transfer-Encoding: chunked"], body: chunked });
    assert.equal(large.status, 413, large.text);
    assert.equal((await zk.request("GET", "/hooks/site", undefined, { key: null })).status, 405);
    assert.equal((await zk.api("GET", "/whoami", undefined, { key: SECRETS.HOOK_SITE })).status, 401);
    assert.equal((await deliveries(zk)).length, before);
    const entry = await until(async () => (await zk.audit({ operation: "zonekeeper-hook-delivery", decision: "deny", limit: 50 })).find(({ reason }) => reason === "no secret gives its signature."), { what: "a refusal on record" });
    assert.equal(entry.principal, null);
  });

  test("T9: twenty equal deliveries at once, to two isolates, start one run", async () => {
    const body = payload("at-once");
    const id = randomUUID();
    const mark = await zk.sim.mark();
    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => deliver(zk, body, { id: index % 4 === 3 ? randomUUID() : id, worker: index % 2 })));
    const count = (wanted) => answers.filter(({ status }) => status === wanted).length;
    assert.deepEqual([count(202), count(200)], [1, 19], answers.map(({ text }) => text).join("\n"));
    const runs = new Set(answers.map(({ json }) => json.result.run));
    assert.equal(runs.size, 1);
    await ended(zk, [...runs][0]);
    assert.deepEqual(await purges(zk, mark), [{ zone: COM, tags: ["at-once"] }]);
  });

  test("a delivery is replayed with its stored body", async () => {
    const first = (await deliver(zk, payload("again"))).json.result;
    await ended(zk, first.run);
    const mark = await zk.sim.mark();
    const answer = await zk.api("POST", `/hooks/site/deliveries/${first.delivery}/replay`);
    assert.equal(answer.status, 202, answer.text);
    const replay = answer.json.result;
    assert.equal(replay.replay_of, first.delivery);
    assert.notEqual(replay.run, first.run);
    await ended(zk, replay.run);
    assert.deepEqual(await purges(zk, mark), [{ zone: COM, tags: ["again"] }]);
    const [newest] = await deliveries(zk, "?limit=1");
    assert.deepEqual([newest.id, newest.replay_of, newest.run_id], [replay.delivery, first.delivery, replay.run]);
  });

  test("T9: both secrets count in turn, one that is not set is an alarm, a restart forgets no delivery", async () => {
    const id = randomUUID();
    const old = await deliver(zk, payload("old"), { id });
    const fresh = await deliver(zk, payload("new"), { secret: NEW });
    assert.deepEqual([old.status, fresh.status], [202, 202]);
    assert.deepEqual((await zk.api("GET", "/alarms")).json.result, []);
    await zk.kill9();
    await zk.restart({ secrets: { ...zk.secrets, HOOK_SITE: "" } });
    // The old secret is withdrawn from the Worker, and the configuration still names it.
    const [alarm] = (await zk.api("GET", "/alarms")).json.result;
    assert.match(alarm.message, /^The hook site names the secret HOOK_SITE, which is not set/);
    const ready = await zk.request("GET", "/readyz", undefined, { key: null });
    assert.deepEqual(ready.json.alarms, ["hook_secret_missing"]);
    assert.equal((await deliver(zk, payload("late"))).status, 503);
    assert.equal((await deliver(zk, payload("late"), { secret: NEW })).status, 202);
    const again = await deliver(zk, payload("old"), { id, secret: NEW });
    assert.deepEqual([again.status, again.json.result.run, again.json.result.duplicate], [200, old.json.result.run, true], again.text);
    await zk.restart({ secrets: zk.secrets });
    assert.equal((await deliver(zk, payload("old"))).status, 200);
    assert.deepEqual(await zk.filesContaining(SECRETS.HOOK_SITE), []);
  });
});

test("T9: of 500 deliveries with a kill -9 among them, each that was answered 2xx has its run", async (t) => {
  const zk = await Zonekeeper.start({ secrets: { ...SECRETS, HOOK_NEW: NEW }, config: CONFIG });
  t.after(() => zk.stop());
  await zk.tick();
  // Runs of a paused job wait, so that this is about their being there.
  assert.equal((await zk.api("POST", "/jobs/purge/pause")).status, 200);
  const answered = new Map();
  let sent = 0;
  let lost = 0;
  const insist = async (number) => {
    for (;;) {
      const answer = await deliver(zk, payload(`n${number}`), { id: `delivery-${number}` }).catch(() => undefined);
      if (answer?.status < 300) return answer.json.result.run;
      if (answer) assert.equal(answer.status, 503, answer.text);
      lost += 1;
      await sleep(50);
    }
  };
  const lane = async () => {
    while (sent < 500) {
      sent += 1;
      const number = sent;
      answered.set(number, await insist(number));
    }
  };
  const kill = async () => {
    await until(() => answered.size >= 200, { what: "two hundred deliveries", everyMs: 5 });
    await zk.kill9();
    await zk.restart();
  };
  await Promise.all([lane(), lane(), lane(), lane(), kill()]);
  assert.equal(answered.size, 500);
  assert.ok(lost > 0, "the kill met deliveries");
  const db = await zk.d1();
  const { results } = await db.prepare("SELECT d.id, d.run FROM hook_deliveries d JOIN runs r ON r.id = d.run").all();
  const runs = new Map(results.map(({ id, run }) => [id, run]));
  for (const [number, run] of answered) assert.equal(runs.get(`delivery-${number}`), run, `delivery ${number}`);
  const { count } = await db.prepare("SELECT count(*) AS count FROM runs").first();
  assert.equal(count, runs.size, "there is no run without a delivery");
  // The first one, sent again, and its run once the job goes on: the messages of before the kill are lost.
  const [first] = answered;
  const again = await deliver(zk, payload(`n${first[0]}`), { id: `delivery-${first[0]}` });
  assert.deepEqual([again.status, again.json.result.run], [200, first[1]]);
  assert.equal((await zk.api("POST", "/jobs/purge/resume")).status, 200);
  const done = await until(
    async () => {
      await zk.tick(Date.now());
      const run = await runOf(zk, first[1]);
      return run.state === "succeeded" && run;
    },
    { withinMs: 60_000, everyMs: 500, what: "the run of a delivery before the kill" },
  );
  assert.equal(done.trigger, "hook");
  t.diagnostic(`${runs.size} runs; ${lost} deliveries met the kill and were sent again`);
});
