// Jobs under kill -9: mixed runs go on while workerd is killed at random moments and comes back on the same
// state; then everything comes to rest, and what must hold is checked against the simulator's ledger.
//
// Chance comes from a seed. What a kill meets depends on the machine as well, so a seed gives the same
// moments and the same work, not the same run to the bit.

import { setTimeout as sleep } from "node:timers/promises";
import { COM, NET } from "./cases.mjs";
import { RUNS, document, recordsOf, urls } from "./jobs.mjs";
import { Zonekeeper } from "./zonekeeper.mjs";

const MINUTE = 60_000;
const TICK_EVERY_MS = 4_000;
/** A lease of 60 s, the waits of what was cut off twice in a row, and some more. */
const REST_WITHIN_MS = 300_000;

const LANES = 4;
const SLOTS_URL = "https://www.example.com/every-minute";

const JOBS = [
  ...Array.from({ length: LANES }, (_, lane) => ({
    name: `purge-${lane}`,
    kind: "cache.purge",
    params: { zones: ["example.org"], files: urls(1, "example.org") },
  })),
  {
    name: "every-minute",
    kind: "cache.purge",
    schedule: "* * * * *",
    overlap: "queue",
    missed: { run_all: 100 },
    params: { zones: ["example.com"], files: [SLOTS_URL] },
  },
  { name: "snapshot", kind: "dns.snapshot", params: { zones: ["example.com"] } },
  { name: "snapshot-net", kind: "dns.snapshot", params: { zones: ["example.net"] } },
  { name: "restore", kind: "dns.restore", params: { zones: ["example.net"] } },
];

/** Numbers from 0 to below 1, the same for the same seed. */
function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Runs it and gives `{ rows, violations }`: what was seen, as `[name, value]`, and what must not be, in
 * sentences.
 *
 * - `seed`: a whole number.
 * - `kills`: how often workerd is killed.
 * - `betweenMs`: the longest time from a restart to the next kill.
 * - `say`: called with a line now and then.
 */
export async function chaos({ seed, kills, betweenMs = 24_000, say = () => {} }) {
  const zk = await Zonekeeper.start({ config: document(JOBS) });
  try {
    return await new Chaos(zk, seed, say).run(kills, betweenMs);
  } finally {
    await zk.stop();
  }
}

class Chaos {
  violations = [];
  killed = [];
  /** Runs that were answered 202, by id: `{ job, files? }`. */
  started = new Map();
  restores = 0;
  refusedPosts = 0;
  isWorking = true;
  isTicking = true;

  constructor(zk, seed, say) {
    this.zk = zk;
    this.seed = seed;
    this.say = say;
  }

  async run(kills, betweenMs) {
    const { zk } = this;
    const from = Date.now();
    await zk.sim.fill(NET, 450);
    // Slow enough that kills meet calls under way.
    await zk.sim.faults([
      { match: { method: "POST" }, action: { delay_ms: 120 } },
      { match: { method: "GET" }, action: { delay_ms: 15 } },
    ]);
    this.com = await recordsOf(zk, COM);
    this.net = await recordsOf(zk, NET);
    this.firstTick = Math.floor(Date.now() / MINUTE) * MINUTE;
    await zk.tick();
    this.base = await this.#firstSnapshot();
    const work = [
      ...Array.from({ length: LANES }, (_, lane) => this.#purges(lane)),
      this.#snapshots(),
      this.#restores(),
    ];
    const ticks = this.#ticks();
    await this.#kills(kills, betweenMs);
    this.isWorking = false;
    await zk.sim.clearFaults();
    const restFrom = Date.now();
    await Promise.all(work);
    this.isTicking = false;
    await ticks;
    await this.#rest();
    const restMs = Date.now() - restFrom;
    await this.#check();
    this.rows.unshift(["seed", this.seed], ["kills", this.killed.length], ["seconds", Math.round((Date.now() - from) / 1000)], [
      "of these coming to rest",
      Math.round(restMs / 1000),
    ]);
    return { rows: this.rows, violations: this.violations };
  }

  /** Does `act` until it succeeds, over any number of kills. */
  async #insist(act) {
    for (;;) {
      try {
        return await act();
      } catch {
        await sleep(100);
      }
    }
  }

  /** Starts a run by an idempotent call that is sent until it is answered. */
  async #start(job, body, key, more = {}) {
    const id = await this.#insist(async () => {
      const answer = await this.zk.api("POST", `/jobs/${job}/runs`, body, { headers: { "idempotency-key": key }, timeoutMs: 10_000 });
      if (answer.status === 202) return answer.json.result.id;
      this.refusedPosts += 1;
      if (answer.status < 500) this.violations.push(`A run of ${job} was refused: ${answer.text}`);
      throw new Error(answer.text);
    });
    this.started.set(id, { job, ...more });
    return id;
  }

  #state(id) {
    return this.#insist(async () => {
      const answer = await this.zk.api("GET", `/runs/${id}`, undefined, { timeoutMs: 10_000 });
      if (answer.status !== 200) throw new Error(answer.text);
      return answer.json.result;
    });
  }

  async #ended(id) {
    const deadline = Date.now() + REST_WITHIN_MS;
    for (;;) {
      const run = await this.#state(id);
      if (run.finished_at || Date.now() > deadline) return run;
      await sleep(200);
    }
  }

  async #firstSnapshot() {
    const id = await this.#start("snapshot-net", {}, "base");
    const run = await this.#ended(id);
    return Object.values(run.result).find(({ snapshot }) => snapshot).snapshot;
  }

  async #kills(kills, betweenMs) {
    const random = chance(this.seed);
    for (let number = 1; number <= kills; number += 1) {
      // Often soon after the last, so that kills also meet what makes up for a kill.
      await sleep(150 + Math.floor(random() ** 2 * betweenMs));
      if (random() < 0.6) await this.#callUnderWay();
      this.killed.push(Date.now());
      await this.zk.kill9();
      await this.zk.restart();
      this.say(`kill ${number} of ${kills}; ${this.started.size} runs started`);
    }
  }

  /** Waits until the API has a call it has not answered, but not for long. */
  async #callUnderWay() {
    const after = await this.zk.sim.mark();
    const deadline = Date.now() + 3_000;
    while (Date.now() < deadline) {
      const writes = await this.zk.sim.writes({ after });
      if (writes.some(({ status }) => status === null)) return;
      await sleep(10);
    }
  }

  /** Purges of some hundred URLs that no other run has, one after the other. */
  async #purges(lane) {
    const random = chance(this.seed + 1 + lane);
    for (let number = 0; this.isWorking; number += 1) {
      const count = 1 + Math.floor(random() * 900);
      const files = Array.from({ length: count }, (_, index) => `https://www.example.org/${lane}/${number}/${index}`);
      const id = await this.#start(`purge-${lane}`, { params: { files } }, `${lane} ${number}`, { files });
      // A second message, at about the time of the first.
      if (random() < 0.5) this.zk.deliver(RUNS, [{ body: id }]).catch(() => {});
      // At times another one waits behind it, but they do not pile up.
      if (random() < 0.7) await this.#ended(id);
      await sleep(Math.floor(random() * 2_000));
    }
  }

  async #snapshots() {
    const random = chance(this.seed + 100);
    for (let number = 0; this.isWorking; number += 1) {
      await this.#start("snapshot", {}, `snapshot ${number}`);
      await sleep(2_000 + Math.floor(random() * 10_000));
    }
  }

  /** Disturbs a zone past the gateway, restores it, compares; again and again. */
  async #restores() {
    for (let number = 0; this.isWorking; number += 1) {
      const { result } = (await this.zk.sim.cf("GET", `/zones/${NET}/dns_records?per_page=5000`)).json;
      const deletes = result.filter(({ type }, index) => ["A", "TXT"].includes(type) && index % 2 === number % 2).map(({ id }) => ({ id }));
      const posts = [{ type: "TXT", name: `stray-${number}`, content: '"stray"', ttl: 60 }];
      for (const body of [{ deletes: deletes.slice(0, 199) }, { posts }]) {
        const answer = await this.zk.sim.cf("POST", `/zones/${NET}/dns_records/batch?by=hand`, body);
        if (answer.status !== 200) throw new Error(answer.text);
      }
      const id = await this.#start("restore", { params: { snapshot: this.base } }, `restore ${number}`);
      const run = await this.#ended(id);
      const now = await recordsOf(this.zk, NET);
      this.restores += 1;
      if (JSON.stringify(now) !== JSON.stringify(this.net)) {
        this.violations.push(`After run ${id} (${run.state}: ${run.reason}) example.net has not the records of the snapshot.`);
      }
    }
  }

  async #ticks() {
    while (this.isTicking) {
      await this.zk.tick().catch(() => {});
      await sleep(TICK_EVERY_MS);
    }
  }

  /** Ticks until no run is open and no intent without an outcome. */
  async #rest() {
    const deadline = Date.now() + REST_WITHIN_MS;
    const db = await this.zk.d1();
    for (;;) {
      await this.zk.tick();
      const { open } = await db.prepare("SELECT count(*) AS open FROM runs WHERE finished_at IS NULL").first();
      const { pending } = await db
        .prepare("SELECT count(*) AS pending FROM audit_intents i WHERE NOT EXISTS (SELECT 1 FROM audit_outcomes o WHERE o.id = i.id)")
        .first();
      if (open === 0 && pending === 0) return;
      this.say(`coming to rest: ${open} runs are open, ${pending} intents without an outcome`);
      if (Date.now() > deadline) {
        this.violations.push(`After ${REST_WITHIN_MS / 1000} s of rest ${open} runs are open and ${pending} intents without an outcome.`);
        return;
      }
      await sleep(2_000);
    }
  }

  async #check() {
    const db = await this.zk.d1();
    const all = async (sql) => (await db.prepare(sql).all()).results;
    const runs = new Map((await all("SELECT id, job, slot, state, reason, created_at, finished_at FROM runs")).map((run) => [run.id, run]));
    this.#checkRuns([...runs.values()], runs);
    const ledger = await this.zk.sim.ledger();
    const writes = ledger.filter(({ method, query }) => method !== "GET" && !query?.includes("by=hand"));
    const repeated = this.#checkPurges(writes, runs);
    const intents = await all(
      "SELECT i.id, i.path, o.outcome, s.happened IS NOT NULL AS settled FROM audit_intents i LEFT JOIN audit_outcomes o ON o.id = i.id LEFT JOIN audit_settlements s ON s.id = i.id",
    );
    this.#checkIntents(writes, intents);
    for (const { status } of ledger) {
      if (status === 429) this.violations.push("Cloudflare's limit was passed: a call was answered 429.");
    }
    const snapshots = await all("SELECT id, zone_name, records, run FROM snapshots WHERE zone_name = 'example.com'");
    for (const { id, records } of snapshots) {
      if (records !== this.com.length) this.violations.push(`Snapshot ${id} has ${records} records in place of ${this.com.length}.`);
    }
    const count = (isMeant) => [...runs.values()].filter(isMeant).length;
    const hit = count(({ created_at, finished_at }) => this.#killsIn(created_at, finished_at) > 0);
    const outcomes = Object.groupBy(intents, ({ outcome }) => outcome ?? "none");
    this.rows = [
      ["runs by the API", this.started.size],
      ["runs by ticks", count(({ slot }) => slot !== null)],
      ["runs that a kill met", hit],
      ["restores compared", this.restores],
      ["snapshots", snapshots.length],
      ["calls that write", writes.length],
      ["purges made once more", repeated],
      ...Object.entries(outcomes).map(([outcome, list]) => [`intents ${outcome}`, list.length]),
      ["intents settled", intents.filter(({ settled }) => settled).length],
    ];
  }

  #killsIn(from, to) {
    return this.killed.filter((at) => at >= from && at <= to).length;
  }

  #checkRuns(list, runs) {
    for (const [id, { job }] of this.started) {
      if (!runs.has(id)) this.violations.push(`Run ${id} of ${job} was answered 202 and is not there.`);
    }
    for (const { id, job, state, reason } of list) {
      if (state !== "succeeded") this.violations.push(`Run ${id} of ${job} ended ${state}: ${reason}`);
    }
    const slots = list.filter(({ slot }) => slot !== null).map(({ slot }) => slot);
    const last = Math.max(...slots);
    if (new Set(slots).size !== slots.length) this.violations.push("A scheduled instant has two runs.");
    for (let slot = this.firstTick; slot <= last; slot += MINUTE) {
      if (!slots.includes(slot)) this.violations.push(`The scheduled instant ${new Date(slot).toISOString()} has no run.`);
    }
    const byApi = list.filter(({ slot }) => slot === null).length;
    if (byApi !== this.started.size) this.violations.push(`${this.started.size} runs were asked for and ${byApi} are there.`);
  }

  /** Every item once, and once more at the most for each kill while its run was open. */
  #checkPurges(writes, runs) {
    const times = new Map();
    for (const { path, body_base64 } of writes) {
      if (!path.endsWith("/purge_cache")) continue;
      for (const file of JSON.parse(Buffer.from(body_base64, "base64").toString("utf8")).files) {
        times.set(file, (times.get(file) ?? 0) + 1);
      }
    }
    let repeated = 0;
    for (const [id, { files }] of this.started) {
      const run = runs.get(id);
      if (!files || !run) continue;
      const most = 1 + this.#killsIn(run.created_at, run.finished_at);
      const wrong = files.filter((file) => !(times.get(file) >= 1 && times.get(file) <= most));
      if (wrong.length > 0) {
        this.violations.push(`${wrong.length} URLs of run ${id} were purged ${times.get(wrong[0]) ?? 0} times, with ${most - 1} kills meanwhile.`);
      }
      repeated += files.filter((file) => times.get(file) > 1).length > 0 ? 1 : 0;
    }
    const slotRuns = [...runs.values()].filter(({ slot }) => slot !== null);
    const seen = times.get(SLOTS_URL) ?? 0;
    const most = slotRuns.reduce((sum, run) => sum + 1 + this.#killsIn(run.created_at, run.finished_at), 0);
    if (seen < slotRuns.length || seen > most) this.violations.push(`${slotRuns.length} scheduled purges were made ${seen} times.`);
    return repeated;
  }

  #checkIntents(writes, intents) {
    const announced = Map.groupBy(intents, ({ path }) => path);
    for (const [path, list] of Map.groupBy(writes, ({ path }) => path)) {
      const count = announced.get(path)?.length ?? 0;
      if (count < list.length) this.violations.push(`${path} was written ${list.length} times and announced ${count} times.`);
    }
    for (const { id, outcome, settled } of intents) {
      if (!outcome && !settled) this.violations.push(`Intent ${id} has no outcome.`);
    }
  }
}
