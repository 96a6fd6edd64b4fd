// `npm start` as a user meets it: what it prints, that the printed calls work, what survives, what it leaves behind.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { freePort } from "../../scripts/lib/local.mjs";
import { at } from "../../scripts/lib/paths.mjs";
import { watch } from "../../scripts/lib/processes.mjs";
import { until } from "./lib/zonekeeper.mjs";

const shell = promisify(execFile);
let state;
let ports;

before(async () => {
  state = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-start-"));
  ports = { zonekeeper: await freePort(), simulator: await freePort() };
});

after(() => rm(state, { recursive: true, force: true }));

test("the printed calls work as printed, also twice", async (t) => {
  const run = await start(t);
  const [zonekeeper, rootKey, simulator, dashboard, create, forbidden, audit, ready] = run.lines;
  assert.equal(zonekeeper, `Zonekeeper  http://127.0.0.1:${ports.zonekeeper}`);
  assert.match(rootKey, /^Root key {4}[A-Za-z0-9_-]{40}$/);
  assert.equal(simulator, `Simulator   http://127.0.0.1:${ports.simulator}`);
  assert.match(dashboard, /^Dashboard {3}/);
  assert.equal(ready, "Ready");
  for (let time = 0; time < 2; time += 1) {
    const created = await paste(create);
    assert.equal(created.success, true, JSON.stringify(created));
    assert.equal(created.result.type, "TXT");
    assert.equal((await paste(forbidden)).errors[0].code, 20020);
    const [newest] = (await paste(audit)).result;
    assert.equal(newest.decision, "deny");
  }
  await run.end("SIGTERM");
});

test("a later start keeps keys of the root, config and audit, and replaces the bot's key", async (t) => {
  const first = await start(t);
  const before = (await paste(first.lines[6])).result.length;
  await first.end("SIGINT");
  const second = await start(t);
  assert.equal(second.lines[1], first.lines[1]);
  assert.ok((await paste(second.lines[6])).result.length >= Math.min(before, 5));
  assert.notEqual(second.lines[4], first.lines[4]);
  assert.equal((await paste(first.lines[4])).errors[0].code, 20011);
  assert.equal((await paste(second.lines[4])).success, true);
  await second.end("SIGTERM");
});

test("workerd killed with SIGKILL comes back on the same state and beside the same simulator", async (t) => {
  const run = await start(t);
  const [workerd] = await descendants(run.child.pid, "workerd");
  assert.equal((await paste(run.lines[4])).success, true);
  process.kill(workerd, "SIGKILL");
  const answer = await until(() => paste(run.lines[4]), { what: "an answer after the restart" });
  assert.equal(answer.success, true, JSON.stringify(answer));
  await run.end("SIGTERM");
});

test("the cron handler answers on the same port and to loopback names only", async (t) => {
  const run = await start(t);
  const base = `http://127.0.0.1:${ports.zonekeeper}/cdn-cgi/handler/scheduled?cron=*+*+*+*+*&time=60000`;
  assert.equal((await fetch(base)).status, 200);
  const { stdout } = await shell("curl", ["-s", "-o", os.devNull, "-w", "%{http_code}", "-H", "Host: rebound.example.com", base]);
  assert.notEqual(stdout, "200");
  await run.end("SIGTERM");
});

test("nothing is left running when npm start itself is killed", async (t) => {
  const run = await start(t);
  const own = [...(await descendants(run.child.pid, "workerd")), ...(await descendants(run.child.pid, "simulator"))];
  assert.equal(own.length, 2);
  run.child.kill("SIGKILL");
  await until(async () => (await Promise.all(own.map(gone))).every(Boolean), { what: "the end of what it had started" });
});

test("a port in use is said in one sentence", async (t) => {
  const run = await start(t);
  const error = await start(t).then(
    () => undefined,
    (failure) => failure,
  );
  assert.match(error.message, new RegExp(`^Port ${ports.zonekeeper} is in use: .*\\.$`));
  await run.end("SIGTERM");
});

/** Starts it as npm does and waits for `Ready`; rejects with what it wrote to stderr when it ends before that. */
function start(t) {
  const child = spawn(process.execPath, [at("scripts", "start.mjs")], {
    env: {
      ...process.env,
      ZONEKEEPER_PORT: String(ports.zonekeeper),
      SIMULATOR_PORT: String(ports.simulator),
      ZONEKEEPER_STATE: state,
      ZONEKEEPER_CRON: "off",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  watch(child);
  t.after(() => child.kill("SIGKILL"));
  let out = "";
  let err = "";
  child.stderr.on("data", (chunk) => (err += chunk));
  const ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
  return new Promise((resolve, reject) => {
    child.stdout.on("data", (chunk) => {
      out += chunk;
      if (!/^Ready$/m.test(out)) return;
      resolve({
        child,
        lines: out.trimEnd().split("\n"),
        async end(signal) {
          child.kill(signal);
          assert.equal(await ended, 0);
        },
      });
    });
    ended.then((code) => reject(new Error(err.trim().split("\n").at(-1) || `It ended with status ${code}.`)));
  });
}

/** Runs a printed line in a shell and reads the answer. */
async function paste(line) {
  const { stdout } = await shell("sh", ["-c", line]);
  return JSON.parse(stdout);
}

/** Process ids of a program among what a process started, directly or not. */
async function descendants(ancestor, program) {
  const all = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
    const [, name, parent] = /^\d+ \((.*)\) \S (\d+)/s.exec(stat) ?? [];
    if (name) all.push({ pid: Number(pid), name, parent: Number(parent) });
  }
  const below = (parent) => all.filter((one) => one.parent === parent).flatMap((one) => [one, ...below(one.pid)]);
  return below(ancestor)
    .filter(({ name }) => name === program)
    .map(({ pid }) => pid);
}

async function gone(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // A zombie has ended; whoever inherited it has only not asked for its status yet.
  return stat === undefined || /\) Z /.test(stat);
}
