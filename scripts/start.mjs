// `npm start`: the simulator of the Cloudflare API and the Worker in front of it, ready to be called.
//
// Prints the lines of the user's guide and then `Ready`; everything before that is progress on stderr.
//   --fresh   forget local state and apply zonekeeper.toml anew
//   --live    talk to the real API with CLOUDFLARE_API_TOKEN of the environment

import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Api } from "./lib/api.mjs";
import { RELEASE, SIMULATOR, buildAll } from "./lib/build.mjs";
import { devVars, rememberToken } from "./lib/dev-vars.mjs";
import { liveUpstream } from "./lib/live.mjs";
import { Workers, requirePort } from "./lib/local.mjs";
import { at, readIfThere } from "./lib/paths.mjs";
import { Failure, main, progress, step } from "./lib/report.mjs";
import { enter } from "./lib/setup.mjs";
import { ownResources, startSimulator } from "./lib/simulator.mjs";

const BOT = "acme-bot";

async function start({ fresh, live }, stack) {
  const port = portFrom("ZONEKEEPER_PORT", 8787);
  const simulatorPort = portFrom("SIMULATOR_PORT", 8788);
  await requirePort(port, "ZONEKEEPER_PORT");
  if (!live) await requirePort(simulatorPort, "SIMULATOR_PORT");

  // A live store is its own: keys and audit of the simulator must not mix with it.
  const home = path.join(path.resolve(process.env.ZONEKEEPER_STATE ?? at(".wrangler")), live ? "live" : "local");
  if (fresh) await rm(home, { recursive: true, force: true });
  await mkdir(home, { recursive: true });

  await buildAll({ variants: [RELEASE], simulator: !live });

  const upstream = live ? await liveUpstream() : await simulated(simulatorPort, stack);
  if (!live) await rememberToken(upstream.token);
  const secrets = { ...(await devVars()), CLOUDFLARE_API_TOKEN: upstream.token };
  const workers = await step("workerd", () =>
    Workers.start({
      out: at(RELEASE.out),
      state: path.join(home, "store"),
      workers: [{ port }],
      vars: { UPSTREAM_BASE_URL: upstream.baseUrl, ...upstream.own },
      secrets,
      onLog: ({ level, message }) => process.stderr.write(`worker ${level}: ${message}\n`),
      onRestart: () => progress("workerd ended and was restarted on the same state"),
    }),
  );
  stack.push(() => workers.stop());
  if (process.env.ZONEKEEPER_CRON !== "off") stack.push(tickEachMinute(workers.url));

  const api = new Api(workers.url, secrets.ROOT_KEY);
  await configure(api);
  const key = await botKey(api, path.join(home, "bot-key.json"));
  if (stack.ending) return;
  const lines = [
    `Zonekeeper  ${workers.url}`,
    `Root key    ${secrets.ROOT_KEY}`,
    `Simulator   ${live ? "not running (--live)" : upstream.url}`,
    "Dashboard   not built yet",
    ...examples({ url: workers.url, key, rootKey: secrets.ROOT_KEY, zone: upstream.zone }),
    "Ready",
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

async function simulated(port, stack) {
  const simulator = await step("simulator", () => startSimulator({ binary: SIMULATOR, port }));
  stack.push(() => simulator.stop());
  simulator.process.ended.then((how) => {
    if (stack.ending) return;
    process.stderr.write(`The simulator ended (${how}).\n${simulator.process.tail()}\n`);
    stack.end(1);
  });
  const { state, url } = simulator;
  return {
    url,
    baseUrl: `${url}/client/v4`,
    token: state.token,
    own: ownResources(state),
    zone: state.zones.find((zone) => zone.name === "example.com") ?? state.zones[0],
  };
}

/** Applies zonekeeper.toml where nothing is applied yet; otherwise only says what would change. */
async function configure(api) {
  const document = await readIfThere(at("zonekeeper.toml"));
  if (document === undefined) {
    progress("zonekeeper.toml is not there, so nothing is granted yet");
    return;
  }
  const current = await api.get("/api/v1/config");
  const body = { text: document, type: "application/toml" };
  if (!current.success || !current.result?.version) {
    const applied = await step("zonekeeper.toml", () => api.put("/api/v1/config", body));
    if (!applied.success) throw new Failure(`zonekeeper.toml was not applied: ${sentences(applied)}`);
    for (const message of applied.messages ?? []) progress(`zonekeeper.toml: ${message.message ?? message}`);
    return;
  }
  const plan = await api.post("/api/v1/config/plan", body);
  if (!plan.success) {
    progress(`zonekeeper.toml could not be applied as it is: ${sentences(plan)}`);
    return;
  }
  const changes = plan.result.changes ?? [];
  if (changes.length === 0) return;
  progress(`zonekeeper.toml differs from version ${current.result.version}, which stays in force:`);
  const sign = { create: "+", update: "~", delete: "-" };
  for (const { kind, name, action } of changes) process.stderr.write(`  ${sign[action] ?? action} ${kind} ${name}\n`);
  process.stderr.write("  Apply it with npm run apply, or start anew with npm start -- --fresh.\n");
}

/** A key of acme-bot for a day; the one of the last start is revoked. */
async function botKey(api, file) {
  const previous = await readIfThere(file);
  if (previous) await api.delete(`/api/v1/principals/${BOT}/keys/${JSON.parse(previous).id}`);
  const expires_on = new Date(Date.now() + 24 * 3600 * 1000).toISOString().replace(/\.\d+Z$/, "Z");
  const minted = await api.post(`/api/v1/principals/${BOT}/keys`, {
    json: { expires_on, note: "npm start" },
  });
  if (!minted.success) {
    progress(`no key for ${BOT}: ${sentences(minted)}`);
    return "KEY-OF-ACME-BOT";
  }
  await writeFile(file, JSON.stringify({ id: minted.result.id }), { mode: 0o600 });
  return minted.result.key;
}

function examples({ url, key, rootKey, zone }) {
  const create = (body) =>
    `curl -s -X POST ${url}/client/v4/zones/${zone.id}/dns_records ` +
    `-H "Authorization: Bearer ${key}" -H "Content-Type: application/json" --data '${body}'`;
  return [
    // The time makes each record a new one, as the API refuses an identical second record.
    create(`{"type":"TXT","name":"_acme-challenge.${zone.name}","content":"'"$(date +%s%N)"'","ttl":120}`),
    create(`{"type":"A","name":"www2.${zone.name}","content":"192.0.2.10","ttl":120}`),
    `curl -s "${url}/api/v1/audit?limit=5" -H "Authorization: Bearer ${rootKey}"`,
  ];
}

/** workerd fires no cron triggers by itself; the minute's start is the scheduler's clock. */
function tickEachMinute(url) {
  let timer;
  const arm = () => {
    const minute = (Math.floor(Date.now() / 60_000) + 1) * 60_000;
    timer = setTimeout(async () => {
      arm();
      const target = `${url}/cdn-cgi/handler/scheduled?cron=*+*+*+*+*&time=${minute}`;
      const answer = await fetch(target).catch((error) => ({ ok: false, status: error.message }));
      if (!answer.ok) progress(`the cron tick of ${new Date(minute).toISOString()} failed: ${answer.status}`);
    }, minute - Date.now());
  };
  arm();
  return () => clearTimeout(timer);
}

/** What was started, to be stopped once, last first. */
class Stack {
  ending = false;
  #stops = [];
  #stopped;

  push(stop) {
    this.#stops.push(stop);
  }

  stop() {
    this.ending = true;
    this.#stopped ??= (async () => {
      for (const stop of this.#stops.reverse()) await stop();
    })();
    return this.#stopped;
  }

  async end(code) {
    await this.stop();
    process.exit(code);
  }
}

function readArguments(args) {
  const unknown = args.find((arg) => arg !== "--fresh" && arg !== "--live");
  if (unknown) throw new Failure(`npm start knows --fresh and --live, not ${unknown}.`);
  return { fresh: args.includes("--fresh"), live: args.includes("--live") };
}

function portFrom(variable, otherwise) {
  const text = process.env[variable];
  if (text === undefined || text === "") return otherwise;
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Failure(`${variable} is not a port: ${text}.`);
  return port;
}

function sentences({ errors = [] }) {
  return errors.map((error) => error.message).join(" ");
}

await main(async () => {
  await enter(fileURLToPath(import.meta.url));
  const options = readArguments(process.argv.slice(2));
  const stack = new Stack();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => stack.end(0));
  try {
    await start(options, stack);
  } catch (error) {
    await stack.stop();
    throw error;
  }
});
