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
  const compiled = [];
  for (let shape = 0; Bench.title(shape) !== undefined; shape += 1) {
    const decide = [];
    const compile = [];
    for (const size of SIZES) {
      const bench = Bench.of(shape, size);
      if (bench.decide(DECISIONS) !== DECISIONS) throw new Error(`${Bench.title(shape)}: the call was not allowed`);
      decide.push(time(() => bench.decide(DECISIONS)) / DECISIONS);
      compile.push(time(() => bench.compile()) / 1e6);
      bench.free();
    }
    lines.push(`${Bench.title(shape).padEnd(52)}${decide.map((ns) => column(ns.toFixed(0))).join("")}`);
    compiled.push(`${`compile, ms: ${Bench.title(shape)}`.padEnd(52)}${compile.map((ms) => column(ms.toFixed(2))).join("")}`);
  }
  return `${[...lines, "", ...compiled].join("\n")}\n`;
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

function column(value) {
  return ` ${String(value).padStart(8)}`;
}
