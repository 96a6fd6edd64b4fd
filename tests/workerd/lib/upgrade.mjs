// The version before on the schema of this one: this version makes state, the version before works on it, both work on
// it at once, and this one goes on from there. So a deployment can be taken back, and may take its time.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { RELEASE } from "../../../scripts/lib/build.mjs";
import { at } from "../../../scripts/lib/paths.mjs";
import { Failure } from "../../../scripts/lib/report.mjs";
import { COM, RECORDS, challenge } from "./cases.mjs";
import { send } from "./http.mjs";
import {
  HOUR,
  PURGE,
  RUNS,
  assertSame,
  disturb,
  ended,
  eventsOf,
  purges,
  recordsOf,
  runOf,
  runsOf,
  start,
  waiting,
} from "./jobs.mjs";
import { Zonekeeper, until } from "./zonekeeper.mjs";

const AUDIENCE = "https://zonekeeper.example.com";
const DAY = 24 * HOUR;

/** A day's schedule whose next instant is half a day away, so that only a tick of ours meets it. */
function schedule(now) {
  const next = Math.ceil((now + 11 * HOUR) / HOUR) * HOUR;
  return { next, cron: `0 ${new Date(next).getUTCHours()} * * *` };
}

/** What both versions know: callers with keys and with tokens, grants, and a job of each kind. */
function document({ issuer, cron, tag = "first" }) {
  return {
    principals: [
      { name: "acme-bot", kind: "key" },
      { name: "site-ci", kind: "oidc", issuer, audience: AUDIENCE, claims: { repository_id: "812345678", ref: "refs/heads/main" } },
      { name: "nightly", kind: "internal" },
    ],
    grants: [
      {
        name: "challenges",
        principals: ["acme-bot"],
        effect: "allow",
        permissions: ["DNS Write", "Zone Read"],
        zones: ["example.com"],
        max_uses: 1_000,
      },
      { name: "site", principals: ["site-ci"], effect: "allow", permissions: ["Zone Read"], zones: ["example.com"] },
      { name: "nightly-work", principals: ["nightly"], effect: "allow", permissions: ["Cache Purge", "DNS Write", "Zone Read"], zones: ["*"] },
    ],
    jobs: [
      { name: "every-day", kind: "cache.purge", schedule: cron, params: { zones: ["example.com"], files: ["https://www.example.com/every-day"] } },
      { name: "purge", kind: "cache.purge", params: { zones: ["example.net"], files: [`https://www.example.net/${tag}`] } },
      { name: "purge-both", kind: "cache.purge", params: { zones: ["example.net"], files: ["https://www.example.net/both"] } },
      { name: "snapshot", kind: "dns.snapshot", params: { zones: ["example.com"] } },
      { name: "restore", kind: "dns.restore", params: { zones: ["example.com"] } },
    ].map((job) => ({ run_as: "nightly", ...job })),
  };
}

/**
 * Runs it. `previous` is `{ migration, out, wrangler }` of the version before; `say` is called with a sentence for each thing that
 * was proved. What does not hold is a `Failure`.
 */
export async function upgrade({ previous, say }) {
  const zk = await Zonekeeper.start();
  try {
    await new Upgrade(zk, previous, say).run();
  } finally {
    await zk.stop();
  }
}

class Upgrade {
  constructor(zk, previous, say) {
    this.zk = zk;
    this.previous = previous;
    this.say = say;
    this.issuer = `${zk.sim.url}/__sim/oidc/github`;
    this.schedule = schedule(Date.now());
    /** The newest tick: the scheduler's clock goes forward only. */
    this.clock = Date.now();
    this.challenges = [];
  }

  async run() {
    await this.#now("this version makes state", () => this.#state());
    await this.#prove("It has the newest migration, which the version before has not", () => this.#differ());
    const { out, wrangler } = this.previous;
    await this.zk.restart({ out, wrangler });
    await this.#now("the version before, on that state", () => this.#before());
    await this.zk.restart({ out: at(RELEASE.out), wrangler: at("wrangler.toml"), workers: [{}, { out }] });
    await this.#now("both at once, as while it is deployed", () => this.#both());
    await this.zk.restart({ workers: [{}] });
    await this.#now("this version again", () => this.#after());
  }

  /** State of every kind that both versions know, with a run that is in the middle of its work. */
  async #state() {
    const { zk } = this;
    await this.#prove("It migrates the database and applies a configuration", async () => {
      assert.equal((await zk.apply(document({ issuer: this.issuer, cron: this.schedule.cron }))).version, 1);
    });
    await this.#prove("It mints a key, and a record is created with it", async () => {
      ({ key: this.key } = await zk.mint("acme-bot"));
      await this.#challenge("new");
    });
    await this.#prove("It exchanges a token of CI for a key", async () => {
      this.ciKey = await this.#exchange();
    });
    await this.#prove("A job with a schedule waits for its next instant", async () => {
      await this.#tick(Date.now());
      const { next_run_at: next } = await this.#api("GET", "/jobs/every-day");
      assert.equal(Date.parse(next), this.schedule.next);
    });
    await this.#prove("It takes a snapshot", async () => {
      this.snapshot = await this.#snapshot();
    });
    await this.#prove("A run is stopped in the middle of its work", async () => {
      this.begun = await this.#begin();
    });
  }

  async #before() {
    const { zk } = this;
    await this.#prove("/readyz says it is ready", () => this.#ready());
    await this.#prove("The key that this version minted reads through the gateway and creates a record", async () => {
      const read = await zk.cf("GET", `${RECORDS}?per_page=5`, undefined, { key: this.key });
      assert.equal(read.status, 200, read.text);
      await this.#challenge("before");
    });
    await this.#prove("The key of CI's token is good, and another token is exchanged", async () => {
      for (const key of [this.ciKey, await this.#exchange()]) {
        const answer = await zk.cf("GET", `/zones/${COM}`, undefined, { key });
        assert.equal(answer.status, 200, answer.text);
      }
    });
    await this.#prove("What that key may not do is refused", async () => {
      const answer = await zk.cf("POST", `/zones/${COM}/purge_cache`, { purge_everything: true }, { key: this.key });
      assert.equal(answer.status, 403, answer.text);
    });
    await this.#prove("The audit log lists the entries of both versions, with their outcomes", () => this.#listed());
    await this.#prove("It goes on with the run that this version began, and ends it", () => this.#finish(this.begun));
    await this.#prove("It starts a run of a job and ends it", async () => {
      this.started = await start(zk, "purge");
      assert.equal((await ended(zk, this.started)).state, "succeeded");
    });
    await this.#prove("It compares the snapshot with the zone as it is, and takes another one", async () => {
      const difference = await this.#api("GET", `/snapshots/${this.snapshot}/difference?to=now`);
      assert.deepEqual([difference.created, difference.deleted], [1, 0]);
      this.second = await this.#snapshot();
      this.records = await recordsOf(zk, COM);
    });
    await this.#prove("It applies a configuration", async () => {
      const changed = document({ issuer: this.issuer, cron: this.schedule.cron, tag: "second" });
      assert.equal((await zk.apply(changed, { query: "?expected_version=1" })).version, 2);
    });
    await this.#prove("It stops in the middle of a run", async () => {
      this.interrupted = await this.#begin();
    });
    await this.#prove("The job with a schedule runs at its instant", () => this.#scheduled(this.schedule.next, 1));
  }

  async #both() {
    const { zk } = this;
    const [present, before] = [{ worker: 0 }, { worker: 1 }];
    await this.#prove("Both say they are ready", async () => {
      for (const which of [present, before]) await this.#ready(which);
    });
    let minted;
    await this.#prove("Each takes keys that the other minted, and both write to the same zone", async () => {
      minted = await this.#api("POST", "/principals/acme-bot/keys", {}, before);
      await Promise.all([
        this.#challenge("both-present", { ...present, key: minted.key }),
        this.#challenge("both-before", { ...before, key: this.key }),
      ]);
    });
    await this.#prove("A key that one revokes is refused by the other within seconds", async () => {
      await this.#api("DELETE", `/principals/acme-bot/keys/${minted.id}`, undefined, before);
      const answer = () => zk.cf("GET", RECORDS, undefined, { ...present, key: minted.key });
      await until(async () => (await answer()).status === 401, { withinMs: 8_000, what: "the end of the key" });
    });
    await this.#prove("A run that both take up at once is carried out once", async () => {
      const id = await this.#begin("purge-both");
      await this.#tick(this.clock + HOUR);
      await Promise.all([present, before].map((which) => zk.deliver(RUNS, [{ body: id }], which)));
      const run = await ended(zk, id);
      assert.equal(run.state, "succeeded", run.reason);
    });
  }

  async #after() {
    const { zk } = this;
    await this.#prove("/readyz says it is ready", () => this.#ready());
    await this.#prove("The configuration that the version before applied is in force, and the next one is version 3", async () => {
      assert.equal((await this.#api("GET", "/config")).version, 2);
      const changed = document({ issuer: this.issuer, cron: this.schedule.cron, tag: "third" });
      assert.equal((await zk.apply(changed, { query: "?expected_version=2" })).version, 3);
    });
    await this.#prove("The runs that the version before ended are listed, with what they did", async () => {
      for (const id of [this.begun, this.started]) {
        assert.equal((await runOf(zk, id)).state, "succeeded");
        assert.ok((await eventsOf(zk, id)).length > 1);
      }
      const listed = (await runsOf(zk, "purge")).map(({ id }) => id);
      for (const id of [this.begun, this.started, this.interrupted]) assert.ok(listed.includes(id), `${id} is not among ${listed}`);
    });
    await this.#prove("It goes on with the run that the version before began, and ends it", () => this.#finish(this.interrupted));
    await this.#prove("The job with a schedule runs at its next instant", () => this.#scheduled(this.schedule.next + DAY, 2));
    await this.#prove("Both snapshots are listed, and the zone is restored from the one before", async () => {
      const ids = (await this.#api("GET", "/snapshots?zone=example.com")).map(({ id }) => id);
      assert.deepEqual(ids.sort(), [this.snapshot, this.second].sort());
      await disturb(zk);
      const run = await ended(zk, await start(zk, "restore", { params: { snapshot: this.second } }));
      assert.equal(run.state, "succeeded", run.reason);
      assertSame(await recordsOf(zk, COM), this.records);
    });
    await this.#prove("The key still works", () => this.#challenge("after"));
    await this.#prove("The audit log goes on: every write once, in one order, none without an outcome", async () => {
      await this.#listed();
      const ids = (await zk.audit({ limit: 1000 })).map(({ id }) => Number(id));
      assert.deepEqual(ids, [...new Set(ids)].sort((a, b) => b - a));
    });
    await this.#prove("Nothing was sent to the API twice", async () => {
      const isPurge = ({ status, path }) => status === 200 && path.endsWith("/purge_cache");
      const sent = (await purges(zk, 0, isPurge)).map(({ files }) => files[0].split("/").at(-1));
      assert.deepEqual(sent.sort(), ["both", "every-day", "every-day", "first", "first", "second"]);
    });
  }

  /** The text of a migration is in the code of every version from it on. */
  async #differ() {
    const { migration, out } = this.previous;
    const sql = await readFile(at("migrations", migration));
    for (const [folder, has] of [[at(RELEASE.out), true], [out, false]]) {
      assert.equal((await readFile(path.join(folder, "index_bg.wasm"))).includes(sql), has, folder);
    }
  }

  async #now(what, work) {
    this.say(`${what}:`);
    await work();
  }

  async #prove(sentence, work) {
    try {
      await work();
    } catch (error) {
      const logged = this.zk.logs.slice(-5).map(({ message }) => `  ${message}`);
      throw new Failure([`"${sentence}" does not hold: ${error.message}`, ...logged].join("\n"));
    }
    this.say(`  ${sentence}.`);
  }

  async #api(method, path, body, options) {
    const answer = await this.zk.api(method, path, body, options);
    assert.ok(answer.success, `${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.result;
  }

  async #ready(which) {
    const answer = await this.zk.request("GET", "/readyz", undefined, { ...which, key: null });
    assert.equal(answer.status, 200, answer.text);
  }

  async #tick(timeMs) {
    this.clock = Math.max(this.clock, timeMs);
    await this.zk.tick(this.clock);
  }

  /** Creates a record, by the key unless `options` name another. */
  async #challenge(label, options) {
    const answer = await this.zk.cf("POST", RECORDS, challenge(label), { key: this.key, ...options });
    assert.equal(answer.status, 200, answer.text);
    this.challenges.push(challenge(label).name);
  }

  async #exchange() {
    const { zk } = this;
    const order = { preset: "github", claims: { aud: AUDIENCE } };
    const signed = await send(zk.sim.url, { method: "POST", path: "/__sim/oidc/github/sign", body: order });
    const body = {
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: signed.json.token,
      subject_token_type: "urn:ietf:params:oauth:token-type:id_token",
    };
    const answer = await zk.request("POST", "/oauth/token", body, { key: null });
    assert.equal(answer.status, 200, answer.text);
    return answer.json.access_token;
  }

  /** A run whose first call was cut off before it reached the API, so that it waits. */
  async #begin(job = "purge") {
    await this.zk.sim.faults([{ match: { path: PURGE }, times: 1, action: { reset: "before" } }]);
    const id = await start(this.zk, job);
    await waiting(this.zk, id);
    return id;
  }

  /** Ends what the run waits for, and sees it to its end. */
  async #finish(id) {
    await this.#tick(this.clock + HOUR);
    await this.zk.deliver(RUNS, [{ body: id }]);
    const run = await ended(this.zk, id);
    assert.equal(run.state, "succeeded", run.reason);
  }

  async #scheduled(instant, count) {
    await this.#tick(instant);
    const runs = await until(async () => {
      const found = await runsOf(this.zk, "every-day");
      return found.length === count && found;
    });
    const run = await ended(this.zk, runs.at(-1).id);
    assert.equal(run.state, "succeeded", run.reason);
  }

  async #snapshot() {
    const run = await ended(this.zk, await start(this.zk, "snapshot"));
    assert.equal(run.state, "succeeded", run.reason);
    return Object.values(run.result).find(({ snapshot }) => snapshot).snapshot;
  }

  /** Every record that was created has its entry, with an outcome. */
  async #listed() {
    const entries = await until(async () => {
      const found = await this.zk.audit({ principal: "acme-bot", limit: 1000 });
      return found.every(({ outcome }) => outcome !== "pending") && found;
    });
    for (const name of this.challenges) {
      const about = entries.filter(({ sentence }) => sentence.includes(`created TXT record ${name} `));
      assert.equal(about.length, 1, `${name}: ${JSON.stringify(about)}`);
    }
  }
}
