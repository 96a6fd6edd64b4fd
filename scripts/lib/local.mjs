// Runs the built Worker on workerd, with local D1, KV and Queues that survive restarts.
//
// miniflare is used directly and each Worker listens on a socket of its own: `wrangler dev` and
// miniflare's own entry put proxies in front that normalise paths and add headers, so that a
// request would not arrive as it was sent.

import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe } from "node:diagnostics_channel";
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { LOCAL_ENTRY, LOCAL_ENTRY_NAME } from "./local-entry.mjs";
import { ROOT, at, readIfThere } from "./paths.mjs";
import { QUIET, watch } from "./processes.mjs";
import { Failure } from "./report.mjs";

Object.assign(process.env, QUIET);

const HOST = "127.0.0.1";

// Tells each workerd process which `Workers` started it, also when miniflare restarts it by itself.
const starting = new AsyncLocalStorage();
subscribe("child_process", ({ process: child }) => {
  const workers = starting.getStore();
  if (!workers) return;
  child.once("spawn", () => {
    if (!path.basename(child.spawnfile).startsWith("workerd")) return;
    workers.runtime = child;
    watch(child);
  });
});

/**
 * One workerd with one or more Workers over the same store.
 *
 * - `out`: the directory of the build.
 * - `wrangler`: the file that says what it is bound to, if not this clone's `wrangler.toml`.
 * - `state`: where D1, KV and Durable Objects are kept.
 * - `vars`, `secrets`: bindings on top of the vars of `wrangler.toml`.
 * - `workers`: `[{ name, port, out, vars }]`; by default one, on a port that nobody has. Further ones are isolates of
 *   their own, and may be of another build, over the same D1 and KV; queues are consumed by the first.
 * - `entry`: false serves the bundle as it is, without the local triggers of `local-entry.mjs`.
 * - `egress`: `"any"`; `"guarded"`, which refuses and logs whatever is not sent to the loopback address; or a
 *   function that answers every request the Worker sends.
 * - `extra`: further workers in miniflare's own form, for comparisons.
 * - `onLog`, `onRestart`: called for each line the Worker logs, and after workerd was restarted.
 */
export class Workers {
  runtime;
  logs = [];
  #options;
  #miniflare;
  #ports = [];

  static async start(options) {
    const workers = new Workers();
    workers.#options = { wrangler: at("wrangler.toml"), workers: [{}], entry: true, egress: "any", extra: [], ...options };
    await workers.#launch();
    return workers;
  }

  /** Base addresses, one per Worker. */
  get urls() {
    return this.#ports.map((port) => `http://${HOST}:${port}`);
  }

  get url() {
    return this.urls[0];
  }

  get #names() {
    return this.#options.workers.map(({ name }, index) => name ?? (index === 0 ? "zonekeeper" : `zonekeeper-${index + 1}`));
  }

  /** Process id of the running workerd. */
  get pid() {
    return this.runtime?.pid;
  }

  get miniflare() {
    return this.#miniflare;
  }

  /** Kills workerd with SIGKILL and leaves it down; `restart` brings it back on the same state and ports. */
  async kill9() {
    const { runtime } = this;
    const ended = new Promise((resolve) => runtime.once("exit", resolve));
    process.kill(runtime.pid, "SIGKILL");
    const gone = this.stop();
    await ended;
    await gone;
  }

  async restart(changes = {}) {
    if (this.#miniflare) await this.stop();
    Object.assign(this.#options, changes);
    await this.#launch();
  }

  async stop() {
    const miniflare = this.#miniflare;
    this.#miniflare = undefined;
    await miniflare?.dispose();
  }

  async #launch() {
    const { Miniflare, convertV4MiniflareOptions, Log, LogLevel } = await import("miniflare");
    const { state, onLog, onRestart } = this.#options;
    // Where none is given workerd takes one that is free, and keeps it: one looked for before could be taken meanwhile.
    this.#ports = this.#options.workers.map(({ port }, index) => this.#ports[index] ?? port ?? 0);
    await mkdir(state, { recursive: true });
    const options = convertV4MiniflareOptions({
      host: HOST,
      port: 0,
      cf: false,
      log: new Log(LogLevel.ERROR),
      telemetry: { enabled: false },
      resourcePersistencePath: state,
      handleStructuredLogs: (line) => {
        this.logs.push(line);
        onLog?.(line);
      },
      unsafeHandleRuntimeRestart: () => onRestart?.(),
      workers: await this.#workers(),
    });
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"].map((signal) => [signal, process.listeners(signal)]);
    await starting.run(this, async () => {
      this.#miniflare = new Miniflare(options);
      // miniflare ends the whole process on a signal, before others could stop what they started.
      for (const [signal, ours] of signals) {
        for (const listener of process.listeners(signal)) {
          if (!ours.includes(listener)) process.removeListener(signal, listener);
        }
      }
      try {
        await this.#miniflare.ready;
      } catch (error) {
        await this.stop().catch(() => {});
        if (error.code === "ERR_ADDRESS_IN_USE") throw new Failure(`Port ${this.#ports.join(" or ")} is in use.`);
        throw error;
      }
      const urls = await Promise.all(this.#names.map((name) => this.#miniflare.unsafeGetDirectURL(name)));
      this.#ports = urls.map(({ port }) => Number(port));
    });
  }

  async #workers() {
    const { out, wrangler, workers, entry, egress, extra, vars, secrets } = this.#options;
    const { options, vars: configured } = await configuration(wrangler);
    const bundle = (folder) => [
      ...(entry ? [{ type: "ESModule", path: path.join(folder, LOCAL_ENTRY_NAME), contents: LOCAL_ENTRY }] : []),
      { type: "ESModule", path: path.join(folder, "index.js") },
      { type: "CompiledWasm", path: path.join(folder, "index_bg.wasm") },
    ];
    const own = workers.map((worker, index) => {
      const name = this.#names[index];
      const { queueConsumers, modulesRules, cronTriggers, durableObjects, ...rest } = options;
      return {
        ...rest,
        name,
        modules: bundle(worker.out ?? out),
        modulesRoot: worker.out ?? out,
        compatibilityFlags: [...(options.compatibilityFlags ?? []), ...(entry ? ["service_binding_extra_handlers"] : [])],
        bindings: { ...configured, ...vars, ...worker.vars, ...secrets },
        queueConsumers: index === 0 ? queueConsumers : {},
        durableObjects: index === 0 ? durableObjects : elsewhere(durableObjects, this.#names[0]),
        serviceBindings: { ...options.serviceBindings, ...(entry ? { LOCAL_SELF: name } : {}) },
        unsafeDirectSockets: [{ host: HOST, port: this.#ports[index] }],
        ...outbound(egress),
      };
    });
    const { compatibilityDate } = options;
    const guard = { name: GUARD, compatibilityDate, modules: true, script: GUARD_SCRIPT };
    return [...own, ...(egress === "guarded" ? [guard] : []), ...extra];
  }
}

// Objects are kept by the first Worker; the others reach the same ones.
function elsewhere(objects, scriptName) {
  const moved = Object.entries(objects ?? {}).map(([name, object]) => {
    const { className } = typeof object === "string" ? { className: object } : object;
    return [name, { className, scriptName }];
  });
  return Object.fromEntries(moved);
}

function outbound(egress) {
  if (egress === "any") return {};
  return { outboundService: egress === "guarded" ? GUARD : egress };
}

const GUARD = "egress-guard";
const GUARD_SCRIPT = `
export default {
  fetch(request) {
    const { host, hostname } = new URL(request.url);
    if (hostname === "127.0.0.1") return fetch(request);
    console.error("egress refused: " + host);
    throw new Error("egress refused: " + host);
  },
};
`;

// Reading wrangler.toml through wrangler takes over a second, so the outcome is kept by its hash.
async function configuration(file) {
  const key = createHash("sha256")
    .update(await readFile(file))
    .update(await readFile(at("package-lock.json")))
    .digest("hex");
  const cache = at("node_modules", ".cache", `wrangler-${key.slice(0, 16)}.json`);
  const kept = await readIfThere(cache);
  if (kept) return JSON.parse(kept);
  const wrangler = await import("wrangler");
  const { vars } = wrangler.unstable_readConfig({ config: file });
  const { bindings, ...options } = wrangler.unstable_getMiniflareWorkerOptions(file).workerOptions;
  const read = { options: { ...options, rootPath: ROOT }, vars };
  await mkdir(path.dirname(cache), { recursive: true });
  await writeFile(cache, JSON.stringify(read));
  return read;
}

/** A port nobody listens on at this moment. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once("error", reject);
    server.listen(0, HOST, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Fails with one sentence when something listens on `port` already. */
export function requirePort(port, variable) {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once("error", (error) =>
      reject(
        new Failure(
          error.code === "EADDRINUSE"
            ? `Port ${port} is in use: stop what listens there, or set ${variable} to another port.`
            : `Port ${port} cannot be used: ${error.message}.`,
        ),
      ),
    );
    server.listen(port, HOST, () => server.close(resolve));
  });
}
