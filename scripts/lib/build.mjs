// Builds what runs: the Worker as wasm, a second Worker with injected faults, the simulator.
//
// A build whose inputs have not changed costs one hash of the sources.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { namedByLikeness } from "./likeness.mjs";
import { withLock } from "./lock.mjs";
import { ROOT, TARGET, TOOLS, at, readIfThere } from "./paths.mjs";
import { run } from "./processes.mjs";
import { Failure, progress, step } from "./report.mjs";
import { cargoTools, rust, toolsPresent } from "./setup.mjs";

/** The two forms of the Worker: what is deployed, and what the fault tests run. */
export const RELEASE = { name: "release", out: "build", features: [] };
export const FAULTS = { name: "faults", out: "build-faults", features: ["faults"] };

/** Above this the build fails; the aim is 700 KB with everything. */
const MAX_GZIPPED_BYTES = 1_000_000;

/** What is uploaded has no names, and nothing that workerd does not read yet: what it reads is named one by one. */
const PLAIN = [
  "--strip-debug",
  "--strip-producers",
  ...["bulk-memory", "exception-handling", "multivalue", "mutable-globals", "nontrapping-float-to-int"].map(enable),
  ...["reference-types", "sign-ext"].map(enable),
];

/**
 * How the wasm is made small for the wire, which is where its size counts. Each pass that is skipped makes code less
 * alike, so that the file gets smaller and what is uploaded larger; inlining alone costs 80 KB gzipped.
 */
const SHRINK = [
  "-Oz",
  ...["inlining", "inlining-optimizing", "ssa-nomerge", "local-cse", "memory-packing", "merge-similar-functions"].map(skip),
  ...["simplify-locals", "simplify-locals-nostructure", "simplify-locals-notee-nostructure"].map(skip),
  ...PLAIN,
];

function skip(pass) {
  return `--skip-pass=${pass}`;
}

function enable(feature) {
  return `--enable-${feature}`;
}

/** What only a build with the `faults` feature says when it panics as it was told to. */
const FAULTS_MARKER = "injected fault";

/** Everything `npm start` and the tests run, built where it is out of date. */
export async function buildAll({ variants = [RELEASE], simulator = true } = {}) {
  const toolchain = await rust();
  const tools = cargoTools();
  // On a fresh machine the crates the Worker depends on compile beside the tools.
  const rest = (async () => {
    if (simulator) await buildSimulator();
    if (!toolsPresent()) await warm(toolchain);
  })();
  await Promise.all([tools, rest]);
  const built = {};
  for (const variant of variants) built[variant.name] = await buildWorker(variant, toolchain, await tools);
  return built;
}

/** Builds one form of the Worker into its directory and returns its sizes. */
export async function buildWorker(variant, toolchain, tools) {
  const out = at(variant.out);
  return withLock(path.join(TOOLS, `${variant.out}.lock`), async () => {
    const stamp = path.join(out, ".inputs");
    const inputs = await inputsHash(variant, toolchain);
    const fresh = (await readIfThere(stamp)) === inputs && existsSync(path.join(out, "index.js"));
    if (!fresh) {
      await step(`Worker (${variant.name}, wasm)`, () =>
        run(tools.workerBuild, workerBuildArgs(variant), {
          cwd: ROOT,
          quiet: true,
          env: { ...toolchain.env, ...tools.env },
        }),
      );
      await shrink(path.join(out, "index_bg.wasm"), tools);
    }
    const size = await sizes(out);
    if (variant === RELEASE) await check(out, size);
    if (!fresh) {
      progress(`Worker (${variant.name}): ${kilobytes(size.raw)} of wasm, ${kilobytes(size.gzipped)} gzipped`);
      await writeFile(stamp, inputs);
    }
    return size;
  });
}

/** Makes a wasm file small for the wire: less code, and like functions side by side. */
async function shrink(wasm, tools) {
  const optimize = (...args) => run(tools.env.WASM_OPT_BIN, [wasm, "-o", wasm, ...args], { cwd: ROOT, quiet: true });
  await optimize(...SHRINK);
  await writeFile(wasm, namedByLikeness(await readFile(wasm)));
  await optimize("--reorder-functions-by-name", ...PLAIN);
}

/** The native simulator, by default in the profile that compiles quickly. Cargo knows whether it is up to date. */
export async function buildSimulator({ release = false } = {}) {
  const args = ["build", "-p", "simulator", ...(release ? ["--release"] : [])];
  await step("simulator (cargo)", () => run("cargo", args, { cwd: ROOT, quiet: true }));
}

export const SIMULATOR = path.join(TARGET, "debug", "simulator");

/** For the benchmark, where it must not be what is measured. */
export const SIMULATOR_RELEASE = path.join(TARGET, "release", "simulator");

async function warm(toolchain) {
  // A failure here is not the last word: worker-build compiles the same and reports it.
  await run("cargo", ["build", "--release", "--lib", "--target", "wasm32-unknown-unknown"], {
    cwd: ROOT,
    env: toolchain.env,
    sentence: "",
  }).catch(() => {});
}

function workerBuildArgs(variant) {
  const args = ["--release", "--out-dir", variant.out];
  if (variant.features.length > 0) args.push(".", "--features", variant.features.join(","));
  return args;
}

export async function sizes(out) {
  const wasm = await readFile(path.join(out, "index_bg.wasm"));
  const gzipped = await promisify(gzip)(wasm, { level: 9 });
  return { raw: wasm.length, gzipped: gzipped.length };
}

async function check(out, size) {
  if (size.gzipped > MAX_GZIPPED_BYTES) {
    throw new Failure(
      `The Worker is ${kilobytes(size.gzipped)} gzipped, above the limit of ${kilobytes(MAX_GZIPPED_BYTES)}.`,
    );
  }
  for (const file of ["index_bg.wasm", "index.js"]) {
    const text = await readFile(path.join(out, file), "latin1");
    if (text.toLowerCase().includes(FAULTS_MARKER.toLowerCase())) {
      throw new Failure(`The release Worker contains "${FAULTS_MARKER}": injected faults must not be released.`);
    }
  }
}

/** What cannot change the Worker; everything else at the top of the clone counts as an input. */
const NOT_INPUTS = new Set([
  "build",
  "build-faults",
  "docs",
  "node_modules",
  "package-lock.json",
  "package.json",
  "public",
  "scripts",
  "target",
  "tests",
  "wrangler.deploy.json",
  "wrangler.toml",
  "zonekeeper.deploy.toml",
  "zonekeeper.toml",
]);

/** What builds it, wasm-opt's version in the lock file among them. */
const BUILDERS = ["package-lock.json", "scripts/lib/build.mjs", "scripts/lib/likeness.mjs", "scripts/lib/setup.mjs"];

async function inputsHash(variant, toolchain) {
  const hash = createHash("sha256").update(JSON.stringify([workerBuildArgs(variant), toolchain.env]));
  const add = async (relative) => {
    const entries = await readdir(at(relative), { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      const name = path.join(relative, entry.name);
      if (relative === "." && (NOT_INPUTS.has(entry.name) || /^\.|\.md$|^LICENSE/.test(entry.name))) continue;
      if (entry.isDirectory()) await add(name);
      else if (entry.isFile()) hash.update(`${name}\0`).update(await readFile(at(name)));
    }
  };
  await add(".");
  for (const file of ["rust-toolchain.toml", ".cargo/config.toml", ...BUILDERS]) hash.update(await readFile(at(file)));
  return hash.digest("hex");
}

export function kilobytes(bytes) {
  return `${Math.round(bytes / 1000)} KB`;
}
