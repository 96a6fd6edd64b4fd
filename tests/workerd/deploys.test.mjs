// Deployments on the real runtime: from a signed delivery, or a bundle of wrangler's, to all of the traffic and a purge;
// and back again.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { deflateRawSync } from "node:zlib";
import { COM } from "./lib/cases.mjs";
import { MINUTE, RUNS, ended, runOf } from "./lib/jobs.mjs";
import { Zonekeeper, until } from "./lib/zonekeeper.mjs";

const COMMIT = "0123abc0123abc0123abc0123abc0123abc01234";
const SECRETS = { HOOK_SITE: "the hook's secret", DEPLOY_GITHUB: "SimulatorGitHubToken_0123456789abcdefghij" };

/** `site` and who may deploy it; `sim` is the simulator's address. */
function document(sim, account) {
  const params = {
    account,
    script: "site",
    steps: [{ percent: 5, wait_secs: 60 }, { percent: 50, wait_secs: 60 }, { percent: 100 }],
    health: [{ url: `${sim}/__sim/sites/site/health`, contains: "version" }],
    zones: ["example.com"],
  };
  return {
    outbound: { hosts: ["127.0.0.1"] },
    principals: [
      { name: "deployer", kind: "internal" },
      { name: "ci", kind: "key" },
    ],
    grants: [
      { name: "deploys", principals: ["deployer"], effect: "allow", permissions: ["Workers Scripts Write"], accounts: ["Acme"] },
      {
        name: "purges",
        principals: ["deployer"],
        effect: "allow",
        permissions: ["Cache Purge", "Zone Read"],
        zones: ["example.com"],
        purge: { everything: true },
      },
      {
        name: "ci-deploys",
        principals: ["ci"],
        effect: "allow",
        permissions: ["Zonekeeper Deploys Write", "Zonekeeper Jobs Read"],
        accounts: ["*"],
      },
    ],
    jobs: [
      { name: "deploy-site", kind: "workers.deploy", run_as: "deployer", params },
      {
        name: "release-site",
        kind: "workers.deploy",
        run_as: "deployer",
        overlap: "cancel",
        params: {
          ...params,
          github: { repository: "acme/site", artifact: "worker", token: "DEPLOY_GITHUB", api: `${sim}/__sim/github` },
        },
      },
    ],
    hooks: [
      {
        name: "site",
        type: "github",
        secrets: ["HOOK_SITE"],
        job: "release-site",
        when: {
          event: "workflow_run",
          "/action": "completed",
          "/workflow_run/conclusion": "success",
          "/workflow_run/head_branch": "main",
        },
        params: { run_id: "/workflow_run/id", commit: "/workflow_run/head_sha" },
      },
    ],
    notifications: [
      { name: "team", type: "slack", url: "NOTIFY_TEAM", outcomes: ["succeeded", "failed", "unknown"] },
      { name: "commits", type: "github", key: "NOTIFY_GITHUB", repository: "acme/site", api: `${sim}/__sim/github`, outcomes: ["succeeded", "failed"] },
    ],
  };
}

/** A bundle as wrangler writes it. */
function bundle(text) {
  const metadata = { main_module: "index.js", compatibility_date: "2026-10-01", keep_bindings: ["secret_text", "secret_key"] };
  const part = (disposition, type, body) => `--b0\r\nContent-Disposition: form-data; ${disposition}\r\n${type}\r\n${body}\r\n`;
  return Buffer.from(
    `${part('name="metadata"', "", JSON.stringify(metadata))}${part('name="index.js"; filename="index.js"', "Content-Type: application/javascript+module\r\n", `export default { fetch: () => new Response("${text}") };`)}--b0--\r\n`,
  );
}

/** A ZIP archive of one file, as `actions/upload-artifact` packs it. */
function zip(name, content) {
  const packed = deflateRawSync(content);
  const head = Buffer.alloc(26);
  head.writeUInt16LE(20, 0);
  head.writeUInt16LE(8, 4);
  head.writeUInt32LE(packed.length, 14);
  head.writeUInt32LE(content.length, 18);
  head.writeUInt16LE(name.length, 22);
  const local = Buffer.concat([Buffer.from("PK\x03\x04"), head, Buffer.from(name), packed]);
  const entry = Buffer.concat([Buffer.from("PK\x01\x02\x14\x00"), head, Buffer.alloc(14), Buffer.from(name)]);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(entry.length, 12);
  end.writeUInt32LE(local.length, 16);
  return Buffer.concat([local, entry, end]);
}

/** Everything that was written at the API since `mark`, in a few words each. */
async function written(zk, mark) {
  const writes = await zk.sim.writes({ after: mark });
  return writes.map(({ path: target, body_base64 }) => {
    const body = Buffer.from(body_base64, "base64").toString("utf8");
    if (target.endsWith("/versions")) return "upload";
    if (target.endsWith("/purge_cache")) return `purge ${target.includes(COM)} ${body}`;
    if (target.endsWith("/deployments")) return JSON.parse(body).versions.map(({ percentage }) => percentage).join("/");
    return `${target} ${body}`;
  });
}

const ALL = ["upload", "5/95", "50/50", "100", 'purge true {"purge_everything":true}'];

describe("deployments", () => {
  let zk;
  let ci;
  let now = Date.now();
  before(async () => {
    zk = await Zonekeeper.start({ secrets: { ...SECRETS, NOTIFY_GITHUB: SECRETS.DEPLOY_GITHUB, NOTIFY_TEAM: "https://example.invalid/" } });
    // The sink's address holds the simulator's port, which is known now.
    await zk.restart({ secrets: { ...zk.secrets, NOTIFY_TEAM: `${zk.sim.url}/__sim/sink/team` } });
    await zk.apply(document(zk.sim.url, zk.sim.state.accounts[0].id));
    ci = (await zk.mint("ci")).key;
    await zk.tick(now);
  });
  after(() => zk?.stop());

  const github = (method, target, body) => fetch(`${zk.sim.url}/__sim/github/${target}`, { method, body });
  const told = async () => {
    const text = await (await fetch(`${zk.sim.url}/__sim/sink/team`)).text();
    return text.split("\n").filter(Boolean).map((line) => JSON.parse(Buffer.from(JSON.parse(line).body_base64, "base64")).text);
  };
  const behave = (behaviour) =>
    fetch(`${zk.sim.url}/__sim/sites/site/behaviour`, { method: behaviour ? "POST" : "DELETE", body: behaviour && JSON.stringify(behaviour) });

  /** Lets the run go on minute by minute. */
  async function play(run, { minutes = 8 } = {}) {
    for (let minute = 0; minute < minutes; minute += 1) {
      const found = await until(
        async () => {
          const found = await runOf(zk, run);
          return (found.state !== "running" || found.waits_until) && found.state !== "queued" && found;
        },
        { what: "the run to wait" },
      );
      if (found.state !== "running") return found;
      now += MINUTE;
      await zk.tick(now);
      // Messages are delayed by real seconds.
      await zk.deliver(RUNS, [{ body: run }]);
    }
    return ended(zk, run);
  }

  function release(id, { head = "main", conclusion = "success" } = {}) {
    const body = JSON.stringify({
      action: "completed",
      workflow_run: { id, head_branch: head, head_sha: COMMIT, conclusion },
    });
    const signature = createHmac("sha256", SECRETS.HOOK_SITE).update(body).digest("hex");
    return zk.request("POST", "/hooks/site", body, {
      key: null,
      headers: {
        "content-type": "application/json",
        "x-github-delivery": randomUUID(),
        "x-github-event": "workflow_run",
        "x-hub-signature-256": `sha256=${signature}`,
      },
    });
  }

  test("a signed workflow_run brings its artifact to 5, 50 and 100 % and purges", async () => {
    const put = await github("PUT", `repos/acme/site/runs/812/artifacts/worker?head_sha=${COMMIT}&head_branch=main`, zip("worker.bundle", bundle("812")));
    assert.ok(put.ok, await put.text());
    const mark = await zk.sim.mark();
    const answer = await release(812);
    assert.equal(answer.status, 202, answer.text);
    const run = await play(answer.json.result.run);
    assert.equal(run.state, "succeeded", run.reason);
    assert.deepEqual(await written(zk, mark), ALL);
    assert.equal(run.result.percent, 100);
    const [entry] = await zk.audit({ run: run.id, operation: "worker-deployments-create-deployment" });
    assert.match(entry.sentence, /^deployer deployed Worker site \(100 % [0-9a-f-]{36}\) in account Acme; allowed by deploys\.$/);
    now += MINUTE;
    await zk.tick(now);
    await until(async () => (await told()).length === 1, { what: "the notification" });
    assert.match((await told())[0], /^release-site succeeded\./);
    const statuses = await fetch(`${zk.sim.url}/__sim/github/repos/acme/site/commits/${COMMIT}/statuses`, {
      headers: { authorization: `Bearer ${SECRETS.DEPLOY_GITHUB}`, "user-agent": "test" },
    });
    assert.deepEqual((await statuses.json()).map(({ state, context }) => [state, context]), [["success", "zonekeeper/release-site"]]);
  });

  test("a version that turns bad at 5 % goes back within two ticks, unpurged, and the team is told why", async () => {
    const answer = await github("PUT", `repos/acme/site/runs/813/artifacts/worker?head_sha=${COMMIT}&head_branch=main`, zip("worker.bundle", bundle("813")));
    assert.ok(answer.ok, await answer.text());
    const mark = await zk.sim.mark();
    const { run: id } = (await release(813)).json.result;
    await until(async () => (await runOf(zk, id)).waits_until, { what: "the run to wait at 5 %" });
    await behave([{ version: "newest", status: 500 }]);
    const run = await play(id, { minutes: 2 });
    await behave();
    assert.equal(run.state, "failed");
    assert.match(run.reason, /answered 500 in place of 200\. Version [0-9a-f-]+ has all traffic again\.$/);
    assert.deepEqual(await written(zk, mark), ["upload", "5/95", "100"]);
    now += MINUTE;
    await zk.tick(now);
    assert.match((await told()).at(-1), /^release-site failed\. The new version failed its check/);
  });

  test("what wrangler bundles is deployed by a key that may do nothing else, and kill -9 changes nothing", async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-bundle-"));
    try {
      await writeFile(path.join(folder, "index.js"), "export default { fetch: () => new Response('wrangler') };");
      await writeFile(path.join(folder, "wrangler.toml"), 'name = "site"\nmain = "index.js"\ncompatibility_date = "2026-10-01"\n');
      const wrangler = path.resolve("node_modules/.bin/wrangler");
      const env = { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false" };
      await promisify(execFile)(wrangler, ["deploy", "--dry-run", "--outfile", "worker.bundle"], { cwd: folder, env });
      const made = await readFile(path.join(folder, "worker.bundle"));
      const mark = await zk.sim.mark();
      const begin = (query) => zk.api("POST", `/deploys?job=deploy-site${query}`, made, { key: ci });
      assert.equal((await begin(`&sha256=${"0".repeat(64)}`)).status, 400);
      assert.equal((await zk.cf("GET", "/zones", undefined, { key: ci })).json.result.length, 0);
      const answer = await begin("&commit=0123abc&message=by%20hand");
      assert.equal(answer.status, 202, answer.text);
      const { id } = answer.json.result;
      await until(async () => (await runOf(zk, id)).waits_until, { what: "the run to wait at 5 %" });
      await zk.kill9();
      await zk.restart();
      now += MINUTE;
      await zk.tick(now);
      const listed = await zk.api("GET", "/deploys?limit=1", undefined, { key: ci });
      assert.equal(listed.json.result[0].id, id, listed.text);
      const run = await play(id);
      assert.equal(run.state, "succeeded", run.reason);
      assert.deepEqual(await written(zk, mark), ALL);
      // And back to the version before it.
      const back = await zk.api("POST", `/deploys/${id}/rollback`, undefined, { key: ci });
      assert.equal(back.status, 202, back.text);
      const undone = await play(back.json.result.id);
      assert.equal(undone.state, "succeeded", undone.reason);
      assert.equal(undone.result.version, run.result.previous);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("killed ten times, after each of its writes: no split twice, no lock left, one purge for each that got through", async () => {
    for (let kill = 0; kill < 10; kill += 1) {
      const mark = await zk.sim.mark();
      const answer = await zk.api("POST", "/deploys?job=deploy-site", bundle(`kill ${kill}`), { key: ci });
      assert.equal(answer.status, 202, answer.text);
      const { id } = answer.json.result;
      // As soon as so many of its writes have come to the API.
      const writes = kill % ALL.length;
      for (let tries = 0; (await zk.sim.writes({ after: mark })).length < writes; tries += 1) {
        assert.ok(tries < 400, `write ${writes} of run ${id} does not come`);
        if ((await runOf(zk, id)).waits_until) {
          now += MINUTE;
          await zk.tick(now);
          await zk.deliver(RUNS, [{ body: id }]);
        }
      }
      await zk.kill9();
      await zk.restart();
      // A step that was cut off is not looked for until it can no longer be on its way: leases and such
      // waits end by the clock alone, so the row is put back in time instead.
      const run = await until(
        async () => {
          await past(id);
          now += MINUTE;
          await zk.tick(now);
          await zk.deliver(RUNS, [{ body: id }]);
          const found = await runOf(zk, id);
          return found.finished_at && found;
        },
        { withinMs: 30_000, what: `the end of run ${id}` },
      );
      assert.equal(run.state, "succeeded", `${kill}: ${run.reason}`);
      const made = await written(zk, mark);
      assert.deepEqual(made.slice(0, 4), ALL.slice(0, 4), `${kill}`);
      const purged = made.slice(4);
      assert.ok(purged.length === 1 || (purged.length === 2 && writes === 4), `${kill}: ${purged}`);
      assert.ok(purged.every((purge) => purge === ALL.at(-1)));
    }
  });

  /** Lets the lease of a run, and the wait for a step that was cut off, be over. */
  async function past(id) {
    const d1 = await zk.d1();
    await d1.prepare("UPDATE runs SET lease_until = NULL WHERE id = ? AND finished_at IS NULL").bind(id).run();
    const ago = 60_000 * 8192;
    await d1.batch([
      d1.prepare("UPDATE audit_intents SET id = id - ?2 WHERE id IN (SELECT entry FROM run_steps WHERE run = ?1 AND state = 'sent')").bind(id, ago),
      d1.prepare("UPDATE run_steps SET entry = entry - ?2 WHERE run = ?1 AND state = 'sent' AND entry > ?3").bind(id, ago, (Date.now() - Date.UTC(2026, 0, 1) - 30_000) * 8192),
    ]);
  }

  test("a deployment is promoted, and another one aborted", async () => {
    const begin = async (text) => {
      const answer = await zk.api("POST", "/deploys?job=deploy-site", bundle(text), { key: ci });
      assert.equal(answer.status, 202, answer.text);
      const { id } = answer.json.result;
      await until(async () => (await runOf(zk, id)).waits_until, { what: "the run to wait at 5 %" });
      return id;
    };
    let mark = await zk.sim.mark();
    const promoted = await begin("promoted");
    const answer = await zk.api("POST", `/deploys/${promoted}/promote`, undefined, { key: ci });
    assert.equal(answer.status, 200, answer.text);
    assert.equal((await ended(zk, promoted)).state, "succeeded");
    assert.deepEqual(await written(zk, mark), ["upload", "5/95", "100", ALL.at(-1)]);
    mark = await zk.sim.mark();
    const aborted = await begin("aborted");
    assert.equal((await zk.api("POST", `/deploys/${aborted}/abort`, undefined, { key: ci })).status, 200);
    const run = await ended(zk, aborted);
    assert.equal(run.state, "cancelled", run.reason);
    assert.deepEqual(await written(zk, mark), ["upload", "5/95", "100"]);
  });
});
