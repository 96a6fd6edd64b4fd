// `npm test`: set-up, then everything that must hold. Every stage runs, also after a failure, and is timed.

import { spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { FAULTS, RELEASE, buildAll } from "./lib/build.mjs";
import { ROOT, at } from "./lib/paths.mjs";
import { QUIET, watch } from "./lib/processes.mjs";
import { Failure, main, progress, seconds } from "./lib/report.mjs";
import { enter, rust } from "./lib/setup.mjs";

async function test() {
  const started = Date.now();
  await rust();
  // The Worker's and the tools' builds need no lint's result; while cargo's locks keep them apart from the
  // native stages, compiling the tools on a fresh machine goes on beside them.
  const built = settled(buildAll({ variants: [RELEASE, FAULTS] }));
  const stages = [
    await stage("format", "cargo", ["fmt", "--all", "--check"]),
    await stage("lints", "cargo", ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    await stage("docs", "cargo", ["doc", "--workspace", "--no-deps", "--locked"], { RUSTDOCFLAGS: "-D warnings" }),
    await stage("native tests", "cargo", ["test", "--workspace", "--features", "zonekeeper/faults", "--locked"]),
  ];
  stages.push(await build(built));
  stages.push(await blackBox(stages.at(-1).failed === 0));

  let passed = 0;
  let failed = 0;
  process.stdout.write("\n");
  for (const { name, ms, passed: good, failed: bad, note } of stages) {
    passed += good;
    failed += bad;
    const verdict = note ?? (bad > 0 ? `${good} passed, ${bad} failed` : good > 1 ? `${good} passed` : "passed");
    process.stdout.write(`${name.padEnd(14)} ${seconds(ms).padStart(9)}  ${verdict}\n`);
  }
  process.stdout.write(`${passed} passed, ${failed} failed in ${seconds(Date.now() - started)}\n`);
  process.exit(failed > 0 ? 1 : 0);
}

/** One program as a stage. Test programs are counted by what they print, anything else as one. */
async function stage(name, command, args, env = {}) {
  progress(`${name}: ${command} ${args.join(" ")}`);
  const from = Date.now();
  const { code, output } = await tee(command, args, env);
  const counts = count(output);
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  if (code === 0 && counts.passed === 0) counts.passed = 1;
  return { name, ms: Date.now() - from, ...counts };
}

async function build(built) {
  const name = "wasm builds";
  progress(`${name}: release with its size and marker, and with injected faults`);
  const from = Date.now();
  const { value, error } = await built;
  const ms = Date.now() - from;
  if (!error) return { name, ms, passed: Object.keys(value).length, failed: 0 };
  process.stdout.write(`${error instanceof Failure ? error.message : error.stack}\n`);
  return { name, ms, passed: 0, failed: 1 };
}

async function blackBox(builds) {
  const name = "black box";
  const entries = await readdir(at("tests", "workerd"));
  const files = entries.filter((file) => file.endsWith(".test.mjs")).map((file) => at("tests", "workerd", file));
  if (!builds) return { name, ms: 0, passed: 0, failed: 1, note: "not run, as there is no build" };
  if (files.length === 0) return { name, ms: 0, passed: 0, failed: 1, note: "there are no tests" };
  return stage(name, process.execPath, ["--test", "--test-timeout=180000", ...files.sort()]);
}

function settled(promise) {
  return promise.then(
    (value) => ({ value }),
    (error) => ({ error }),
  );
}

// On a signal each stage's program is asked to end first, since only it knows what it started.
const running = new Set();

async function interrupted() {
  const ends = [...running].map((child) => new Promise((resolve) => child.once("exit", resolve)));
  for (const child of running) child.kill("SIGTERM");
  await Promise.race([Promise.all(ends), new Promise((resolve) => setTimeout(resolve, 3_000))]);
  process.exit(130);
}

function tee(command, args, env) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, ...QUIET, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    watch(child);
    running.add(child);
    child.once("exit", () => running.delete(child));
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
        process.stdout.write(chunk);
      });
    }
    child.on("error", (error) => resolve({ code: 1, output: error.message }));
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

// cargo prints "test result: … N passed; M failed", once per test program; node prints "pass N" and "fail N".
function count(output) {
  let passed = 0;
  let failed = 0;
  for (const match of output.matchAll(/^test result: .*?(\d+) passed; (\d+) failed/gm)) {
    passed += Number(match[1]);
    failed += Number(match[2]);
  }
  for (const match of output.matchAll(/^\S+ (pass|fail|cancelled) (\d+)$/gm)) {
    if (match[1] === "pass") passed += Number(match[2]);
    else failed += Number(match[2]);
  }
  return { passed, failed };
}

await main(async () => {
  await enter(fileURLToPath(import.meta.url));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, interrupted);
  await test();
});
