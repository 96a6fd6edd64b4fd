// `npm run bench`: what a call through the gateway costs, beside a bare JavaScript pass-through in the same workerd.
// `npm run bench -- calls starts policy` names the parts to be run; without names it is all of them.
//
// Ratios come from interleaved rounds whose order is reversed each time, given as median and spread.
// Numbers of one machine at one time: they are compared with each other, never with a limit.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Api } from "./lib/api.mjs";
import { RELEASE, SIMULATOR_RELEASE, buildAll, buildSimulator, kilobytes } from "./lib/build.mjs";
import { cpuMs, load, median, quantile, requestBytes } from "./lib/load.mjs";
import { Workers } from "./lib/local.mjs";
import { ROOT, at } from "./lib/paths.mjs";
import { policyInWasm } from "./lib/policy-wasm.mjs";
import { run } from "./lib/processes.mjs";
import { Failure, main, progress } from "./lib/report.mjs";
import { enter } from "./lib/setup.mjs";
import { ownResources, startSimulator } from "./lib/simulator.mjs";

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 9);
const ROUND_MS = Number(process.env.BENCH_ROUND_MS ?? 2_000);
const ROOT_KEY = "bench-root-key-0123456789-0123456789-abc";
const MANY_GRANTS = 10_000;

const BARE = `
export default {
  fetch(request, env) {
    const url = new URL(request.url);
    return fetch(new URL(url.pathname + url.search, env.UPSTREAM_ORIGIN), request);
  },
};
`;

const HELLO = `export default { fetch() { return new Response("hello"); } };`;

const PARTS = ["calls", "starts", "policy"];

async function bench(parts) {
  const { release } = await buildAll({ variants: [RELEASE], simulator: false });
  await buildSimulator({ release: true });
  const folder = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-bench-"));
  const simulator = await startSimulator({ binary: SIMULATOR_RELEASE });
  try {
    row("what", "bare", "zonekeeper", "ratio (spread)", "reach");
    if (parts.has("calls")) await calls({ folder, simulator });
    if (parts.has("starts")) await starts({ folder, simulator });
    row("release wasm", "", `${kilobytes(release.raw)}, ${kilobytes(release.gzipped)} gz`, "", "≤ 700 KB gz");
  } finally {
    await simulator.stop();
    await rm(folder, { recursive: true, force: true });
  }
  if (!parts.has("policy")) return;
  process.stdout.write("\nresolve and decide in wasm (≤ 4 µs, ≤ 1.5 times 100 grants; compile ≤ 20 ms)\n");
  process.stdout.write(await policyInWasm());
  process.stdout.write("\nresolve and decide, natively (≤ 1.5 µs)\n");
  process.stdout.write(await run("cargo", ["run", "--release", "--quiet", "--bin", "bench-policy"], { cwd: ROOT }));
}

/** Throughput, CPU, added latency and rows, with both Workers in one workerd. */
async function calls({ folder, simulator }) {
  const workers = await Workers.start({
    ...worker({ folder: path.join(folder, "calls"), simulator }),
    entry: false,
    extra: [
      {
        name: "bare",
        compatibilityDate: "2026-11-01",
        modules: true,
        script: BARE,
        bindings: { UPSTREAM_ORIGIN: simulator.url },
        unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      },
    ],
  });
  try {
    const api = new Api(workers.url, ROOT_KEY);
    await configure(api, { principals: PRINCIPALS, grants: [GRANT] });
    const key = await mint(api);
    const zone = simulator.state.zones.find(({ name }) => name === "example.com").id;
    const subjects = {
      bare: { base: (await workers.miniflare.unsafeGetDirectURL("bare")).origin, token: simulator.state.token },
      zonekeeper: { base: workers.url, token: key },
    };
    const records = `/client/v4/zones/${zone}/dns_records`;
    let serial = 0;
    const read = ({ base, token }) => {
      const bytes = requestBytes(base, { path: `${records}?per_page=5`, headers: { Authorization: `Bearer ${token}` } });
      return () => bytes;
    };
    const write = ({ base, token }) => () => {
      serial += 1;
      const body = { type: "TXT", name: "_bench.example.com", content: `"${serial}"`, ttl: 120 };
      return requestBytes(base, { method: "POST", path: records, headers: { Authorization: `Bearer ${token}` }, body });
    };

    for (const connections of [8, 32]) {
      const rates = await rounds(subjects, async (subject) => {
        await reset(simulator);
        const before = await cpuMs(workers.pid);
        const { answered, ms } = await load(subject.base, { connections, durationMs: ROUND_MS, next: read(subject) });
        // What runs after the last answer, such as the audit of reads, belongs to the calls as well.
        await new Promise((resolve) => setTimeout(resolve, 1_100));
        const after = await cpuMs(workers.pid);
        return { rate: answered / (ms / 1000), cpu: before === undefined ? undefined : ((after - before) * 1000) / answered };
      });
      ratioRow(`read, c=${connections}, calls/s (without budget)`, rates, "rate", 0, "≥ 0.6, then 0.75");
      if (rates.bare[0].cpu !== undefined) {
        const added = rates.zonekeeper.map(({ cpu }, round) => (cpu - rates.bare[round].cpu) / 1000);
        row(`read, c=${connections}, CPU µs per call`, middle(rates.bare, "cpu"), middle(rates.zonekeeper, "cpu"), "", "");
        row("  CPU above bare, ms", "", "", median(added).toFixed(2), "≤ 0.4");
      }
    }
    for (const [what, next, count, reach] of [
      ["read", read, 400, "+ ≤ 0.5 ms"],
      ["write", write, 150, "+ ≤ 3 ms"],
    ]) {
      const latency = await rounds(subjects, async (subject) => {
        await reset(simulator);
        const { latencies } = await load(subject.base, { connections: 1, count, next: next(subject) });
        return { p50: median(latencies) };
      });
      const added = latency.zonekeeper.map(({ p50 }, round) => p50 - latency.bare[round].p50);
      row(
        `${what}, one connection, p50 ms`,
        middle(latency.bare, "p50", 2),
        middle(latency.zonekeeper, "p50", 2),
        `+${median(added).toFixed(2)} (${spread(added)})`,
        reach,
      );
    }
    for (const [what, next, reach] of [
      ["write", write, "≤ 6"],
      ["read", read, "≤ 2"],
    ]) {
      const count = 100;
      await reset(simulator);
      const before = await storedRows(workers);
      await load(workers.url, { connections: 4, count, next: next(subjects.zonekeeper) });
      const after = await quiet(() => storedRows(workers));
      row(`D1 rows per audited ${what}, indexes included`, "", ((after - before) / count).toFixed(2), "", reach);
    }
  } finally {
    await workers.stop();
  }
}

/** Time from the start of workerd to the first answer, against a Worker that only says hello. */
async function starts({ folder, simulator }) {
  const hello = path.join(folder, "hello");
  await mkdir(hello, { recursive: true });
  await writeFile(path.join(hello, "index.js"), HELLO);
  // The smallest module there is: magic number and version.
  await writeFile(path.join(hello, "index_bg.wasm"), Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
  const small = worker({ folder: path.join(folder, "small"), simulator });
  const large = worker({ folder: path.join(folder, "large"), simulator });
  const keys = {};
  for (const [name, options, grants] of [
    ["zonekeeper", small, [GRANT]],
    ["many", large, manyGrants()],
  ]) {
    const workers = await Workers.start(options);
    const api = new Api(workers.url, ROOT_KEY);
    await configure(api, { principals: PRINCIPALS, grants });
    keys[name] = await mint(api);
    await workers.stop();
  }
  const zone = simulator.state.zones[0].id;
  const subjects = {
    bare: { options: { ...small, out: hello, state: path.join(folder, "hello-state") } },
    zonekeeper: { options: small, key: keys.zonekeeper },
    many: { options: large, key: keys.many },
  };
  const times = await rounds(subjects, async ({ options, key }) => {
    const from = performance.now();
    const workers = await Workers.start({ ...options, entry: false });
    const answer = await fetch(`${workers.url}/client/v4/zones/${zone}/dns_records?per_page=5`, {
      headers: { authorization: `Bearer ${key}` },
    });
    const ms = performance.now() - from;
    await workers.stop();
    if (!answer.ok) throw new Failure(`The first answer after a start was ${answer.status}: ${await answer.text()}`);
    return { ms };
  });
  ratioRow("start to first answer, ms", times, "ms", 0, "≤ 2.5");
  ratioRow(`  with ${MANY_GRANTS} grants`, { bare: times.bare, zonekeeper: times.many }, "ms", 0, "≤ 3.5");
}

/** Measures every subject once per round, in an order reversed each time; a first round only warms up. */
async function rounds(subjects, measure) {
  const results = Object.fromEntries(Object.keys(subjects).map((name) => [name, []]));
  for (let round = -1; round < ROUNDS; round += 1) {
    const order = Object.keys(subjects);
    if (round % 2 !== 0) order.reverse();
    for (const name of order) {
      const result = await measure(subjects[name]);
      if (round >= 0) results[name].push(result);
    }
    progress(`round ${round + 1} of ${ROUNDS}`);
  }
  return results;
}

const PRINCIPALS = [
  { name: "bench", kind: "key" },
  { name: "o", kind: "internal" },
];
const GRANT = { name: "bench", principals: ["bench"], effect: "allow", permissions: ["DNS Write"], zones: ["example.com"] };

/** The grant that decides, among many of another principal; as short as they can be, to fit into one document. */
function manyGrants() {
  const others = Array.from({ length: MANY_GRANTS - 1 }, (_, index) => ({
    name: `g${index}`,
    principals: ["o"],
    effect: "allow",
    permissions: ["DNS Read"],
    zones: ["*"],
  }));
  return [...others, GRANT];
}

function worker({ folder, simulator }) {
  return {
    out: at(RELEASE.out),
    state: folder,
    vars: { UPSTREAM_BASE_URL: `${simulator.url}/client/v4`, ...ownResources(simulator.state) },
    secrets: {
      ROOT_KEY,
      CLOUDFLARE_API_TOKEN: simulator.state.token,
      KEY_PEPPER: Buffer.alloc(32, 1).toString("base64"),
      AUDIT_SIGNING_KEY: Buffer.alloc(32, 2).toString("base64"),
    },
  };
}

async function configure(api, document) {
  const answer = await api.put("/api/v1/config", { json: document });
  if (!answer.success) throw new Failure(`The config of the benchmark was refused: ${JSON.stringify(answer.errors).slice(0, 500)}`);
}

async function mint(api) {
  const answer = await api.post("/api/v1/principals/bench/keys", { json: { note: "bench" } });
  if (!answer.success) throw new Failure(`The key of the benchmark was refused: ${JSON.stringify(answer.errors)}`);
  return answer.result.key;
}

/** The simulator as seeded, with limits out of the way. */
async function reset(simulator) {
  for (const [what, body] of [["reset"], ["limits", { requests: 1_000_000_000, window_secs: 300 }]]) {
    const answer = await fetch(`${simulator.url}/__sim/${what}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    if (!answer.ok) throw new Failure(`The simulator answered ${answer.status} to ${what}.`);
  }
}

/** Rows in all tables, each counted once for itself and once for every index of its table. */
async function storedRows(workers) {
  const database = await workers.miniflare.getD1Database("DB", "zonekeeper");
  const { results } = await database
    .prepare(
      "SELECT t.name AS name, (SELECT count(*) FROM sqlite_master i WHERE i.type = 'index' AND i.tbl_name = t.name) AS indexes " +
        "FROM sqlite_master t WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name NOT LIKE '\\_cf\\_%' ESCAPE '\\'",
    )
    .all();
  let rows = 0;
  for (const { name, indexes } of results) {
    const { n } = await database.prepare(`SELECT count(*) AS n FROM "${name}"`).first();
    rows += n * (1 + indexes);
  }
  return rows;
}

/** The number once it has stayed the same for a second and a half: reads are recorded in batches. */
async function quiet(count) {
  let last = await count();
  for (let same = 0; same < 6; ) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    const now = await count();
    same = now === last ? same + 1 : 0;
    last = now;
  }
  return last;
}

function ratioRow(what, results, field, digits, reach) {
  const ratios = results.zonekeeper.map((result, round) => result[field] / results.bare[round][field]);
  row(
    what,
    middle(results.bare, field, digits),
    middle(results.zonekeeper, field, digits),
    `${median(ratios).toFixed(2)} (${spread(ratios)})`,
    reach,
  );
}

function middle(results, field, digits = 0) {
  return median(results.map((result) => result[field])).toFixed(digits);
}

function spread(values) {
  return `${quantile(values, 0.1).toFixed(2)}–${quantile(values, 0.9).toFixed(2)}`;
}

function row(what, bare, ours, ratio, reach) {
  process.stdout.write(
    `${what.padEnd(46)} ${bare.padStart(9)} ${ours.padStart(20)} ${ratio.padStart(20)}  ${reach}\n`,
  );
}

await main(async () => {
  await enter(fileURLToPath(import.meta.url));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(130));
  const named = process.argv.slice(2);
  const unknown = named.find((part) => !PARTS.includes(part));
  if (unknown) throw new Failure(`npm run bench knows ${PARTS.join(", ")}, not ${unknown}.`);
  await bench(new Set(named.length > 0 ? named : PARTS));
});
