// The black-box harness: the built Worker on workerd, in front of a simulator of its own.
//
//   const zk = await Zonekeeper.start({ config });
//   const { key } = await zk.mint("acme-bot");
//   const answer = await zk.cf("GET", "/zones", undefined, { key });
//   assert.equal(answer.status, 200);
//   await zk.stop();
//
// Each instance has fresh state in a temporary directory and ports of its own, so test files may run
// side by side. Nothing waits a fixed time: `until` polls with a bound.

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FAULTS, RELEASE } from "../../../scripts/lib/build.mjs";
import { Workers } from "../../../scripts/lib/local.mjs";
import { at } from "../../../scripts/lib/paths.mjs";
import { whenParentEnds } from "../../../scripts/lib/processes.mjs";
import { ownResources } from "../../../scripts/lib/simulator.mjs";
import { send, sendRaw } from "./http.mjs";
import { Simulator } from "./simulator.mjs";

// A test file whose runner was killed would otherwise go on to its end.
whenParentEnds(() => process.exit(1));

const VARIANTS = { release: RELEASE, faults: FAULTS };

export class Zonekeeper {
  sim;
  rootKey;
  /** Secrets of the Worker. */
  secrets;
  #workers;
  #state;

  /**
   * - `variant`: `"release"`, or `"faults"` for the build with injected faults.
   * - `workers`: how many Workers share the one store, each an isolate of its own.
   * - `config`: a document to apply at once, as TOML text or as an object.
   * - `vars`: Worker vars on top of the usual ones; `secrets` likewise.
   * - `egress`: see `Workers`; `"guarded"` refuses and logs what does not go to the loopback address.
   * - `out`, `simulator`: another build directory, another simulator binary.
   */
  static async start({
    variant = "release",
    workers = 1,
    config,
    vars,
    secrets,
    egress,
    out = at(VARIANTS[variant].out),
    simulator,
  } = {}) {
    if (!existsSync(path.join(out, "index.js"))) throw new Error(`${out} is not built: run npm test, or node scripts/build.mjs.`);
    const zk = new Zonekeeper();
    zk.rootKey = randomBytes(30).toString("base64url");
    zk.#state = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-"));
    zk.sim = await Simulator.start({ binary: simulator });
    zk.secrets = {
      ROOT_KEY: zk.rootKey,
      CLOUDFLARE_API_TOKEN: zk.sim.state.token,
      KEY_PEPPER: randomBytes(32).toString("base64"),
      AUDIT_SIGNING_KEY: randomBytes(32).toString("base64"),
      ...secrets,
    };
    try {
      zk.#workers = await Workers.start({
        out,
        state: zk.#state,
        workers: Array.from({ length: workers }, () => ({})),
        vars: {
          UPSTREAM_BASE_URL: `${zk.sim.url}/client/v4`,
          LOCAL_QUEUE_TRIGGER: "on",
          ...ownResources(zk.sim.state),
          ...vars,
        },
        secrets: zk.secrets,
        ...(egress ? { egress } : {}),
      });
      if (config !== undefined) await zk.apply(config);
    } catch (error) {
      await zk.stop();
      throw error;
    }
    return zk;
  }

  /** Base address; `urls` has one per Worker. */
  get url() {
    return this.#workers.url;
  }

  get urls() {
    return this.#workers.urls;
  }

  /** What the Workers logged: `[{ level, message, timestamp }]`. */
  get logs() {
    return this.#workers.logs;
  }

  /** Process id of workerd. */
  get pid() {
    return this.#workers.pid;
  }

  /**
   * Any request. The credential is `key`, the root key when it is not given, none when it is null.
   * `worker` chooses among several Workers.
   */
  request(method, path, body, { key = this.rootKey, headers = {}, worker = 0, timeoutMs } = {}) {
    const bearer = key === null ? {} : { authorization: `Bearer ${key}` };
    const all = Array.isArray(headers) ? [...Object.entries(bearer).flat(), ...headers] : { ...bearer, ...headers };
    return send(this.urls[worker], { method, path, headers: all, body, timeoutMs });
  }

  /** A call of our own API; `path` is what follows `/api/v1`. */
  api(method, path, body, options) {
    return this.request(method, `/api/v1${path}`, body, options);
  }

  /** A call through the gateway; `path` is what follows `/client/v4`. */
  cf(method, path, body, options) {
    return this.request(method, `/client/v4${path}`, body, options);
  }

  /** Bytes as they are, on a connection of their own: for what no client library would send. */
  raw(bytes, { worker = 0, timeoutMs } = {}) {
    return sendRaw(this.urls[worker], bytes, { timeoutMs });
  }

  /** Applies a document with the root key and returns `{version, changes}`; a refusal throws. */
  async apply(config, { query = "" } = {}) {
    const toml = typeof config === "string";
    const answer = await this.api("PUT", `/config${query}`, config, {
      headers: { "content-type": toml ? "application/toml" : "application/json" },
    });
    if (!answer.success) throw new Error(`The config was refused: ${answer.status} ${answer.text}`);
    return answer.result;
  }

  /** Mints a key: `{id, key, expires_on}`. */
  async mint(principal, options = {}) {
    const answer = await this.api("POST", `/principals/${principal}/keys`, options);
    if (!answer.success) throw new Error(`No key for ${principal}: ${answer.status} ${answer.text}`);
    return answer.result;
  }

  async revoke(principal, id) {
    const answer = await this.api("DELETE", `/principals/${principal}/keys/${id}`);
    if (!answer.success) throw new Error(`The key was not revoked: ${answer.status} ${answer.text}`);
  }

  /** Audit entries, newest first; `filter` holds query parameters. */
  async audit(filter = {}) {
    const answer = await this.api("GET", `/audit?${new URLSearchParams(filter)}`);
    if (!answer.success) throw new Error(`No audit: ${answer.status} ${answer.text}`);
    return answer.result;
  }

  /** Runs the cron handler with this scheduled time, in milliseconds, and waits for its end. */
  async tick(timeMs = Date.now(), { worker = 0 } = {}) {
    const path = `/cdn-cgi/handler/scheduled?cron=*+*+*+*+*&time=${timeMs}`;
    const answer = await this.request("GET", path, undefined, { key: null, worker });
    if (answer.status !== 200) throw new Error(`The tick ended with ${answer.status} ${answer.text}`);
  }

  /** Delivers queue messages `[{id?, body, attempts?}]` by hand, e.g. twice; returns what the handler did with them. */
  async deliver(queue, messages, { worker = 0 } = {}) {
    const answer = await this.request("POST", `/cdn-cgi/handler/queue?queue=${queue}`, messages, { key: null, worker });
    if (answer.status !== 200) throw new Error(`The delivery ended with ${answer.status} ${answer.text}`);
    return answer.json;
  }

  /** The D1 database, as a Worker sees it: `(await zk.d1()).prepare(…)`. */
  d1() {
    return this.#workers.miniflare.getD1Database("DB", "zonekeeper");
  }

  /** The KV namespace. */
  kv() {
    return this.#workers.miniflare.getKVNamespace("BLOBS", "zonekeeper");
  }

  /** `kill -9` of workerd, which stays down; queued messages are lost, D1 and KV are not. */
  kill9() {
    return this.#workers.kill9();
  }

  /** Brings workerd back on the same state and ports; `changes` may name other vars, secrets or an `out`. */
  restart(changes = {}) {
    return this.#workers.restart(changes);
  }

  /** Files of the local state that contain the text; for secrets there must be none. */
  async filesContaining(text) {
    const found = [];
    const needle = Buffer.from(text);
    for (const entry of await readdir(this.#state, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = path.join(entry.parentPath, entry.name);
      if ((await readFile(file)).includes(needle)) found.push(path.relative(this.#state, file));
    }
    return found;
  }

  async stop() {
    await this.#workers?.stop();
    await this.sim?.stop();
    await rm(this.#state, { recursive: true, force: true });
  }
}

/** Calls `check` until it returns something truthy, and returns that; fails after `withinMs` with what it saw last. */
export async function until(check, { withinMs = 10_000, everyMs = 50, what = "the condition" } = {}) {
  const deadline = Date.now() + withinMs;
  let last;
  for (;;) {
    try {
      last = await check();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`${what} did not hold within ${withinMs} ms; last seen: ${last?.stack ?? JSON.stringify(last)}`);
    }
    await sleep(everyMs);
  }
}
