// Set-up of a fresh machine: toolchain, npm packages, cargo tools. Idempotent; a second run costs milliseconds.
//
// The entry scripts call `enter()` first. It runs under any Node ≥ 20, makes sure the pinned packages
// are there, and goes on under the Node that came with them.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { withLock } from "./lock.mjs";
import { ROOT, TOOLS, at, fileHash, readIfThere } from "./paths.mjs";
import { probe, run, whenParentEnds } from "./processes.mjs";
import { Failure, progress, step } from "./report.mjs";

const WASM_TARGET = "wasm32-unknown-unknown";
const WORKER_BUILD = "0.8.7";
const BIN = at("node_modules", ".bin");

// Under npm, or as the successor of a first process, our life is our parent's. Started by a person's
// shell we may outlive it, as any program put into the background does.
const STARTED_FOR_US = Boolean(process.env.npm_lifecycle_event ?? process.env.ZONEKEEPER_SUCCESSOR);

/**
 * Makes the pinned npm packages present and continues under their Node.
 *
 * Returns only in the process that is to do the work; the first process, if it runs under another
 * Node, waits here for its successor, passes signals on and ends with its status.
 */
export async function enter(script) {
  if (Number(process.versions.node.split(".")[0]) < 20) {
    throw new Failure(`Node ${process.versions.node} is too old: install Node 20 or newer and run this again.`);
  }
  await packages();
  const { devDependencies } = JSON.parse(await readFile(at("package.json"), "utf8"));
  if (process.versions.node === devDependencies.node) {
    const onPath = (process.env.PATH ?? "").split(path.delimiter);
    if (onPath[0] !== BIN) process.env.PATH = [BIN, ...onPath].join(path.delimiter);
    if (STARTED_FOR_US) whenParentEnds(() => process.kill(process.pid, "SIGTERM"));
    return;
  }
  const child = spawn(path.join(BIN, "node"), [script, ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, PATH: [BIN, process.env.PATH].join(path.delimiter), ZONEKEEPER_SUCCESSOR: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  if (STARTED_FOR_US) whenParentEnds(() => child.kill("SIGTERM"));
  const code = await new Promise((resolve) => {
    child.on("error", (error) => {
      process.stderr.write(`Could not run the Node of node_modules: ${error.message}.\n`);
      resolve(1);
    });
    child.on("exit", (status, signal) => resolve(signal ? 1 : status));
  });
  process.exit(code);
}

/** The npm packages exactly as the lock file names them. */
export async function packages() {
  const stamp = at("node_modules", ".lock-hash");
  const wanted = await fileHash(at("package-lock.json"));
  if ((await readIfThere(stamp)) === wanted) return;
  await withLock(path.join(TOOLS, "npm.lock"), async () => {
    if ((await readIfThere(stamp)) === wanted) return;
    if (!(await probe("npm", ["--version"]))) {
      throw new Failure("npm is missing: install Node 20 or newer with npm and run this again.");
    }
    await step("npm packages", () =>
      run("npm", ["ci", "--loglevel=error", "--no-fund", "--no-audit"], {
        cwd: ROOT,
        quiet: true,
        env: { PATH: withoutOwnBin() },
      }),
    );
    await writeFile(stamp, wanted);
  });
}

/**
 * The environment in which cargo compiles the standard library together with the Worker, for size: `std` has a
 * feature for that, which makes the gzipped Worker 15 KB smaller. And no path of this machine gets into the wasm,
 * so that the same sources have the same digests elsewhere. Cargo calls both unstable; the toolchain is pinned,
 * and without them the Worker is only larger, and not the same elsewhere.
 */
const STD_FOR_SIZE = {
  RUSTC_BOOTSTRAP: "1",
  CARGO_UNSTABLE_BUILD_STD: "std,panic_abort",
  CARGO_UNSTABLE_BUILD_STD_FEATURES: "optimize_for_size",
  CARGO_UNSTABLE_TRIM_PATHS: "true",
  CARGO_PROFILE_RELEASE_TRIM_PATHS: "all",
};

/**
 * The Rust toolchain of `rust-toolchain.toml` with its wasm target.
 *
 * Returns the environment in which cargo builds for wasm.
 */
export async function rust() {
  const sentence = (what, how) => `${what} is missing: ${how} and run this again.`;
  if (!(await probe("rustup", ["--version"]))) {
    throw new Failure(sentence("rustup", "install it from https://rustup.rs"));
  }
  if (!(await probe("cc", ["--version"]))) {
    throw new Failure(sentence("A C compiler", "install one (Debian: apt-get install build-essential)"));
  }
  const channel = /^channel\s*=\s*"([^"]+)"/m.exec(await readFile(at("rust-toolchain.toml"), "utf8"))[1];
  const sysroot = () => probe("rustup", ["run", channel, "rustc", "--print", "sysroot"]);
  let root = await sysroot();
  if (!root) {
    await step(`Rust ${channel}`, () =>
      run("rustup", ["toolchain", "install", channel, "--profile", "minimal", "--no-self-update"], {
        quiet: true,
        sentence: `rustup could not install Rust ${channel}: check the network and run this again.`,
      }),
    );
    root = await sysroot();
  }
  for (const component of ["rustfmt", "clippy"]) {
    const program = component === "clippy" ? "cargo-clippy" : component;
    if (existsSync(path.join(root, "bin", program))) continue;
    await step(component, () =>
      run("rustup", ["component", "add", component, "--toolchain", channel], {
        quiet: true,
        sentence: `rustup could not add ${component} to Rust ${channel}: check the network and run this again.`,
      }),
    );
  }
  const rustlib = path.join(root, "lib", "rustlib");
  if (!existsSync(path.join(rustlib, WASM_TARGET, "lib"))) {
    try {
      await step(`Rust target ${WASM_TARGET}`, () =>
        run("rustup", ["target", "add", WASM_TARGET, "--toolchain", channel], { sentence: "" }),
      );
    } catch {
      const { debianRust } = await import("./debian-rust.mjs");
      return debianRust({ rustupSysroot: root });
    }
  }
  if (!existsSync(path.join(rustlib, "src", "rust", "library", "Cargo.lock"))) {
    try {
      await step("Rust's sources", () =>
        run("rustup", ["component", "add", "rust-src", "--toolchain", channel], { sentence: "" }),
      );
    } catch {
      progress("Rust's sources cannot be had, so its library is used as it comes: the Worker is some 15 KB larger and has other digests.");
      return { env: {} };
    }
  }
  return { env: STD_FOR_SIZE };
}

/** `worker-build` and the `wasm-bindgen` that matches `Cargo.lock`; returns the environment `worker-build` needs. */
export async function cargoTools() {
  const lock = await readFile(at("Cargo.lock"), "utf8");
  const bindgen = /name = "wasm-bindgen"\nversion = "([^"]+)"/.exec(lock)?.[1];
  if (!bindgen) throw new Failure("Cargo.lock names no wasm-bindgen; it must hold the one the Worker is built with.");
  // One after the other: with a build directory in common the second finds a third of its crates compiled.
  // `--locked` for worker-build only: the lock file inside wasm-bindgen-cli names a withdrawn crate.
  const workerBuild = await cargoTool({ crate: "worker-build", version: WORKER_BUILD, locked: true });
  const wasmBindgen = await cargoTool({ crate: "wasm-bindgen-cli", version: bindgen, program: "wasm-bindgen" });
  await rm(TOOLS_TARGET, { recursive: true, force: true });
  return {
    workerBuild,
    env: {
      WASM_BINDGEN_BIN: wasmBindgen,
      WASM_OPT_BIN: path.join(BIN, "wasm-opt"),
      ESBUILD_BIN: path.join(BIN, "esbuild"),
    },
  };
}

const TOOLS_TARGET = path.join(TOOLS, "target");

async function cargoTool({ crate, version, program = crate, locked = false }) {
  const home = path.join(TOOLS, `${program}-${version}`);
  const file = path.join(home, "bin", program);
  const present = async () => (await probe(file, ["--version"]))?.endsWith(version);
  if (await present()) return file;
  return withLock(path.join(TOOLS, "tools.lock"), async () => {
    if (await present()) return file;
    const args = ["install", crate, "--version", version, "--bin", program, "--root", home, "--force"];
    if (locked) args.push("--locked");
    await step(`${crate} ${version} (compiled once, a few minutes)`, () =>
      run("cargo", args, {
        cwd: ROOT,
        quiet: true,
        // Built for a short compile: they run for a second or two per build of the Worker.
        env: {
          CARGO_TARGET_DIR: TOOLS_TARGET,
          CARGO_PROFILE_RELEASE_OPT_LEVEL: "1",
          CARGO_PROFILE_RELEASE_LTO: "off",
          CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "16",
        },
      }),
    );
    return file;
  });
}

/** Whether the cargo tools are already there, so that nothing needs to be overlapped with them. */
export function toolsPresent() {
  return existsSync(path.join(TOOLS, `worker-build-${WORKER_BUILD}`, "bin", "worker-build"));
}

function withoutOwnBin() {
  return (process.env.PATH ?? "")
    .split(path.delimiter)
    .filter((entry) => path.resolve(entry) !== BIN)
    .join(path.delimiter);
}

