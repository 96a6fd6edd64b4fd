// What the tests of jobs have in common: principals, URLs, and how a run is started, hurried and awaited.

import assert from "node:assert/strict";
import { COM } from "./cases.mjs";
import { until } from "./zonekeeper.mjs";

export const ORG = "c0000000000000000000000000000003";
export const RUNS = "zonekeeper-runs";
export const DEAD = "zonekeeper-dead";
export const PURGE = "*/purge_cache";
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

/** The operation under which a purge is on record. */
export const PURGED = "zone-purge";

const ENDED = new Set(["succeeded", "failed", "cancelled", "needs_approval", "unknown"]);

/** A document with these jobs and a principal that may do what they do in `zones`. */
export function document(jobs, zones = ["*"]) {
  return {
    principals: [{ name: "nightly", kind: "internal" }],
    grants: [
      {
        name: "nightly-work",
        principals: ["nightly"],
        effect: "allow",
        permissions: ["Cache Purge", "DNS Write", "Zone Read"],
        zones,
      },
    ],
    jobs: jobs.map((job) => ({ run_as: "nightly", ...job })),
  };
}

/** `count` different URLs of a zone. */
export function urls(count, zone = "example.com") {
  return Array.from({ length: count }, (_, index) => `https://www.${zone}/${index}`);
}

/** Starts a run and gives its id. */
export async function start(zk, job, body = {}, options) {
  const answer = await zk.api("POST", `/jobs/${job}/runs`, body, options);
  assert.equal(answer.status, 202, answer.text);
  assert.equal(answer.json.result.state, "queued", answer.text);
  return answer.json.result.id;
}

/** A run as it is now. */
export async function runOf(zk, id) {
  const answer = await zk.api("GET", `/runs/${id}`);
  assert.equal(answer.status, 200, answer.text);
  return answer.json.result;
}

/** The run once it is at its end. */
export function ended(zk, id, { withinMs = 20_000 } = {}) {
  return until(
    async () => {
      const run = await runOf(zk, id);
      return ENDED.has(run.state) && run;
    },
    { withinMs, what: `the end of run ${id}` },
  ).catch(async (error) => {
    const events = await eventsOf(zk, id);
    throw new Error(`${error.message}\n${JSON.stringify(await runOf(zk, id))}\n${events.join("\n")}`);
  });
}

/** The run once it waits for something. */
export function waiting(zk, id) {
  return until(
    async () => {
      const run = await runOf(zk, id);
      return run.state === "running" && run.waits_until && run;
    },
    { what: `a wait of run ${id}` },
  );
}

/** What happened to a run, in sentences. */
export async function eventsOf(zk, id) {
  const answer = await zk.api("GET", `/runs/${id}/events?limit=500`);
  assert.equal(answer.status, 200, answer.text);
  return answer.json.result.map(({ message }) => message);
}

/** Ends whatever a run waits for by a tick an hour ahead and a message. Only where no job has a schedule. */
export async function hurry(zk, id) {
  await zk.tick(Date.now() + HOUR);
  await zk.deliver(RUNS, [{ body: id }]);
}

/** Hurries the run again and again until it is at its end. */
export async function hurried(zk, id) {
  return until(
    async () => {
      const run = await runOf(zk, id);
      if (ENDED.has(run.state)) return run;
      if (run.waits_until) await hurry(zk, id);
      return undefined;
    },
    { withinMs: 30_000, what: `the end of run ${id}` },
  );
}

/** The runs of a job, oldest first. */
export async function runsOf(zk, job) {
  const answer = await zk.api("GET", `/runs?job=${job}`);
  assert.equal(answer.status, 200, answer.text);
  return answer.json.result.toReversed();
}

/** The bodies of the purges after `mark` that the API accepted, with the name of their zone's id. */
export async function purges(zk, mark = 0, isMeant = ({ status }) => status === 200) {
  const writes = await zk.sim.writes({ after: mark });
  return writes.filter(isMeant).map(({ path, body_base64 }) => {
    assert.match(path, /\/purge_cache$/);
    return { zone: path.split("/").at(-2), ...JSON.parse(Buffer.from(body_base64, "base64").toString("utf8")) };
  });
}

/** What the build with injected faults logged of each invocation: `[{ event, subrequests, bytes }]`. */
export function used(zk) {
  return zk.logs.flatMap(({ message }) => {
    const found = /used by (.+): (\d+) subrequests, (\d+) bytes/.exec(message);
    return found ? [{ event: found[1], subrequests: Number(found[2]), bytes: Number(found[3]) }] : [];
  });
}

/** Every record of a zone, as the API has it. */
export async function allRecords(zk, zone) {
  const found = [];
  for (let page = 1; ; page += 1) {
    const { json } = await zk.sim.cf("GET", `/zones/${zone}/dns_records?page=${page}&per_page=5000`);
    found.push(...json.result);
    if (page >= json.result_info.total_pages) return found;
  }
}

/** Records of a zone without what changes from one creation to the next, in order. */
export async function recordsOf(zk, zone) {
  return (await allRecords(zk, zone)).map(comparable).toSorted();
}

// A setting that is off says the same as none.
function comparable({ id, created_on, modified_on, comment_modified_on, tags_modified_on, meta, settings, ...record }) {
  const on = Object.fromEntries(Object.entries(settings ?? {}).filter(([, value]) => value !== false));
  return JSON.stringify({ ...record, settings: on });
}

/** Fails unless the two lists of texts hold the same, and shows some of what differs. */
export function assertSame(actual, expected) {
  const only = (list, other) => {
    const known = new Set(other);
    return list.filter((text) => !known.has(text)).slice(0, 3);
  };
  const differ = { unexpected: only(actual, expected), missing: only(expected, actual), lengths: [actual.length, expected.length] };
  assert.deepEqual(differ, { unexpected: [], missing: [], lengths: [expected.length, expected.length] });
}

/** Changes one record of example.com, deletes one and adds one, past the gateway. */
export async function disturb(zk) {
  const { result } = (await zk.sim.cf("GET", `/zones/${COM}/dns_records?per_page=1000`)).json;
  const a = result.find(({ type, name }) => type === "A" && name === "api.example.com");
  const txt = result.find(({ type, name }) => type === "TXT" && name === "_dmarc.example.com");
  const records = `/zones/${COM}/dns_records`;
  for (const [method, path, body] of [
    ["PATCH", `${records}/${a.id}`, { content: "192.0.2.99", comment: "hijacked" }],
    ["DELETE", `${records}/${txt.id}`],
    ["POST", records, { type: "TXT", name: "stray", content: '"stray"', ttl: 60 }],
  ]) {
    const answer = await zk.sim.cf(method, path, body);
    assert.equal(answer.status, 200, answer.text);
  }
}
