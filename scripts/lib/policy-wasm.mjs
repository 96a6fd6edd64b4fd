// Resolve and decide in wasm, timed in the JavaScript engine that workerd has.

import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { median } from "./load.mjs";
import { ROOT, TARGET } from "./paths.mjs";
import { run } from "./processes.mjs";
import { cargoTools, rust } from "./setup.mjs";

const SIZES = [10, 100, 1_000, 10_000];
const ROUNDS = 9;
const DECISIONS = 50_000;

/** Builds the example `policy-wasm` and gives lines of text: ns a decision, ms a compilation. */
export async function policyInWasm() {
  const toolchain = await rust();
  const { env } = await cargoTools();
  const target = "wasm32-unknown-unknown";
  const build = ["build", "--release", "--locked", "--example", "policy-wasm", "--target", target];
  await run("cargo", build, { cwd: ROOT, quiet: true, env: toolchain.env });
  const built = path.join(toolchain.env.CARGO_TARGET_DIR ?? TARGET, target, "release", "examples", "policy_wasm.wasm");
  const folder = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-policy-"));
  try {
    await run(env.WASM_BINDGEN_BIN, ["--target", "nodejs", "--out-dir", folder, built], { cwd: ROOT, quiet: true });
    const { Bench } = createRequire(import.meta.url)(path.join(folder, "policy_wasm.js"));
    return table(Bench);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function table(Bench) {
  const lines = [`${"ns per resolve + decide, grants:".padEnd(52)}${SIZES.map(column).join("")}`];
  const started = [];
  const checked = [];
  for (let shape = 0; Bench.title(shape) !== undefined; shape += 1) {
    const decide = [];
    const start = [];
    const check = [];
    for (const size of SIZES) {
      const bench = Bench.of(shape, size);
      if (bench.decide(DECISIONS) !== DECISIONS) throw new Error(`${Bench.title(shape)}: the call was not allowed`);
      decide.push(time(() => bench.decide(DECISIONS)) / DECISIONS);
      start.push(time(() => bench.start()) / 1e6);
      check.push(time(() => bench.check()) / 1e6);
      bench.free();
    }
    const title = Bench.title(shape);
    lines.push(row(title, decide, 0));
    started.push(row(title, start, 2));
    checked.push(row(title, check, 2));
  }
  const compile = ["", "ms to compile and decide the first call:", ...started];
  const every = ["", "ms to compile with every condition, before it is stored:", ...checked];
  return `${[...lines, ...compile, ...every].join("\n")}\n`;
}

/** The median over the rounds, in nanoseconds. */
function time(work) {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const from = performance.now();
    work();
    return (performance.now() - from) * 1e6;
  });
  return median(rounds);
}

function row(title, values, digits) {
  return `${title.padEnd(52)}${values.map((value) => column(value.toFixed(digits))).join("")}`;
}

function column(value) {
  return ` ${String(value).padStart(8)}`;
}
