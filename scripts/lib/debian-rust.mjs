// A wasm target for machines where rustup cannot download one: Debian's Rust, with a standard library
// compiled from Debian's sources.
//
// The packages are unpacked into the tools' directory, so neither root nor a change of the system is needed.

import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { withLock } from "./lock.mjs";
import { TARGET, TOOLS } from "./paths.mjs";
import { probe, run } from "./processes.mjs";
import { Failure, step } from "./report.mjs";

const WASM_TARGET = "wasm32-unknown-unknown";
const PACKAGES = ["rustc-web", "cargo-web", "rust-web-src"];

/** The environment in which cargo builds for wasm with Debian's Rust. */
export async function debianRust({ rustupSysroot }) {
  const home = path.join(TOOLS, "debian-rust");
  const done = path.join(home, ".complete");
  const usr = path.join(home, "root", "usr");
  const libraries = await multiarch(usr);
  const env = {
    PATH: [path.join(usr, "bin"), process.env.PATH].join(path.delimiter),
    LD_LIBRARY_PATH: libraries,
  };
  if (!existsSync(done)) {
    await withLock(path.join(TOOLS, "debian-rust.lock"), async () => {
      if (existsSync(done)) return;
      await rm(home, { recursive: true, force: true });
      await step("Debian's Rust, as rustup has no wasm target to offer", () => unpack(home));
      await step("standard library for wasm", () => standardLibrary({ home, usr, env }));
      await writeFile(done, "");
    });
  }
  const linker = await rustLld(rustupSysroot);
  return {
    env: {
      ...env,
      // Another compiler's objects must not lie where rustup's are.
      CARGO_TARGET_DIR: path.join(TARGET, "debian"),
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER: linker,
    },
  };
}

async function unpack(home) {
  const missing = "rustup could not download the wasm32-unknown-unknown target";
  const plan = await probe("apt-get", ["install", "--simulate", "--no-install-recommends", ...PACKAGES]);
  if (plan === undefined) {
    throw new Failure(`${missing}, and apt knows no ${PACKAGES.join(", ")} to take its place: check the network.`);
  }
  // Everything the packages need that the machine does not have; what is installed already is found where it is.
  const names = [...plan.matchAll(/^Inst (\S+)/gm)].map((match) => match[1]);
  const files = path.join(home, "packages");
  await mkdir(files, { recursive: true });
  await run("apt-get", ["download", ...names], {
    cwd: files,
    quiet: true,
    sentence: `${missing}, and apt could not download Debian's Rust: check the network.`,
  });
  const root = path.join(home, "root");
  for (const file of await readdir(files)) await run("dpkg-deb", ["-x", path.join(files, file), root]);
  await rm(files, { recursive: true });
}

async function standardLibrary({ home, usr, env }) {
  const crate = path.join(home, "std");
  await mkdir(path.join(crate, "src"), { recursive: true });
  await writeFile(
    path.join(crate, "Cargo.toml"),
    '[package]\nname = "std-for-wasm"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n[profile.release]\nopt-level = "z"\n',
  );
  await writeFile(path.join(crate, "src", "lib.rs"), "");
  const args = ["build", "--release", "--target", WASM_TARGET, "-Z", "build-std=std,panic_abort,proc_macro"];
  args.push("-Z", "build-std-features=optimize_for_size");
  await run("cargo", args, {
    cwd: crate,
    quiet: true,
    // Bitcode is what link-time optimisation of the Worker needs.
    env: {
      ...env,
      RUSTC_BOOTSTRAP: "1",
      RUSTFLAGS: "-Cembed-bitcode=yes",
      CARGO_TARGET_DIR: path.join(crate, "target"),
    },
  });
  const built = path.join(crate, "target", WASM_TARGET, "release", "deps");
  const lib = path.join(usr, "lib", "rustlib", WASM_TARGET, "lib");
  await mkdir(lib, { recursive: true });
  for (const file of await readdir(built)) {
    if (file.endsWith(".rlib") && !file.startsWith("libstd_for_wasm")) {
      await copyFile(path.join(built, file), path.join(lib, file));
    }
  }
  await rm(crate, { recursive: true });
}

async function multiarch(usr) {
  const triple = (await probe("dpkg-architecture", ["-qDEB_HOST_MULTIARCH"])) ?? (await probe("cc", ["-print-multiarch"]));
  return path.join(usr, "lib", triple || "x86_64-linux-gnu");
}

async function rustLld(sysroot) {
  const rustlib = path.join(sysroot, "lib", "rustlib");
  for (const host of await readdir(rustlib)) {
    const file = path.join(rustlib, host, "bin", "rust-lld");
    if (existsSync(file)) return file;
  }
  throw new Failure("Rust's own linker, rust-lld, is missing from the rustup toolchain: reinstall it with rustup.");
}
