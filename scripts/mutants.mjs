// `npm run mutants`: takes each guard away in turn, in a copy of the sources, and lists the test that notices. A guard
// whose absence no test notices is a failure. `--case E2` takes those of one case only. Each test runs once with all
// guards in place first: what fails anyway notices nothing.

import { spawn } from "node:child_process";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { parseArgs } from "node:util";
import { ROOT, TARGET, at } from "./lib/paths.mjs";
import { QUIET, watch } from "./lib/processes.mjs";
import { Failure, main, progress } from "./lib/report.mjs";
import { enter, rust } from "./lib/setup.mjs";

const COPIED = [".cargo", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "clippy.toml", "src", "tests", "benches", "data", "migrations", "docs", "wrangler.toml", "zonekeeper.toml", "README.md"];
const PLACE = path.join(TARGET, "mutants");

/** What is compiled once for each guard and run for a second is not worth optimising. */
const QUICK = { CARGO_PROFILE_DEV_OPT_LEVEL: "0", CARGO_PROFILE_DEV_DEBUG: "none" };

/** What is taken away: `find` stands once in `file`, and `test` is what cargo is told to run. */
async function mutants(wanted) {
  const list = JSON.parse(await readFile(at("tests", "mutants.json"), "utf8"));
  const chosen = list.filter((mutant) => wanted === undefined || mutant.case === wanted);
  if (chosen.length === 0) throw new Failure(`tests/mutants.json has no case ${wanted}.`);
  for (const mutant of chosen) {
    const text = await readFile(at(mutant.file), "utf8");
    const count = text.split(mutant.find).length - 1;
    if (count !== 1) throw new Failure(`${mutant.case}: the guard stands ${count} times in ${mutant.file}: ${mutant.find}`);
  }
  return chosen;
}

async function copySources() {
  await mkdir(PLACE, { recursive: true });
  for (const name of COPIED) {
    await rm(path.join(PLACE, name), { recursive: true, force: true });
    await cp(at(name), path.join(PLACE, name), { recursive: true, filter: (from) => !from.includes("node_modules") }).catch((error) => {
      if (error.code !== "ENOENT") throw error;
    });
  }
}

/** Runs tests in the copy and says what came of them. */
function cargoTest(args) {
  return new Promise((resolve, reject) => {
    const child = spawn("cargo", ["test", "--features", "zonekeeper/faults", "--locked", ...args], {
      cwd: PLACE,
      env: { ...process.env, ...QUIET, ...QUICK, CARGO_TARGET_DIR: path.join(PLACE, "target") },
      stdio: ["ignore", "pipe", "pipe"],
    });
    watch(child);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    child.on("error", reject);
    child.on("close", (code) => {
      const failed = [...output.matchAll(/^test (\S+) .*FAILED$/gm)].map(([, name]) => name);
      const passed = [...output.matchAll(/^test \S+ .*ok$/gm)].length;
      resolve({ code, failed, passed, output });
    });
  });
}

/** Holds that each test passes, and is one, while nothing is taken away. */
async function checkTests(chosen) {
  for (const test of new Set(chosen.map((mutant) => mutant.test.join(" ")))) {
    progress(`untouched: ${test}`);
    const { code, passed, output } = await cargoTest(test.split(" "));
    if (code !== 0 || passed === 0) throw new Failure(`With every guard in place "${test}" ends with code ${code} and ${passed} tests pass.\n${output.slice(-2000)}`);
  }
}

await main(async () => {
  await enter(fileURLToPath(import.meta.url));
  const { values } = parseArgs({ options: { case: { type: "string" } } });
  await rust();
  const chosen = await mutants(values.case);
  await copySources();
  await checkTests(chosen);
  let survived = 0;
  for (const { case: name, file, find, replace, test } of chosen) {
    const target = path.join(PLACE, file);
    const whole = await readFile(target, "utf8");
    progress(`${name}: ${file}`);
    await writeFile(target, whole.replace(find, () => replace));
    const { code, failed, passed, output } = await cargoTest(test);
    await writeFile(target, whole);
    let verdict = failed[0] && `noticed by ${failed[0]}`;
    if (!verdict) {
      survived += 1;
      verdict = code === 0 ? `SURVIVED ${passed} tests` : `DOES NOT BUILD\n${output.split("\n").filter((line) => line.startsWith("error")).slice(0, 3).join("\n")}`;
    }
    process.stdout.write(`${name.padEnd(5)} ${path.relative(ROOT, at(file)).padEnd(36)} ${verdict}\n`);
  }
  process.stdout.write(survived === 0 ? `${chosen.length} guards, each noticed when it is gone\n` : `${survived} of ${chosen.length} guards are not\n`);
  process.exit(survived === 0 ? 0 : 1);
});
