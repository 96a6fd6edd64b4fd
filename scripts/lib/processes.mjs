// Child processes: run one to its end, or own one that must not outlive us.
//
// INVARIANT: only process ids that this process started are ever signalled.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Failure } from "./report.mjs";

/** What every child gets: no telemetry, no look-ups of its own, no prompts. */
export const QUIET = {
  WRANGLER_SEND_METRICS: "false",
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  MINIFLARE_TELEMETRY_DISABLED: "1",
  CI: "1",
  WRANGLER_LOG: "error",
};

/**
 * Runs a program to its end and returns what it wrote to stdout.
 *
 * With `capture: false` its output is the terminal's. With `quiet: true` output appears only when it fails.
 */
export function run(command, args, { cwd, env, capture = true, quiet = false, sentence } = {}) {
  return new Promise((resolve, reject) => {
    const piped = capture || quiet;
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...QUIET, ...env },
      stdio: ["ignore", piped ? "pipe" : "inherit", piped ? "pipe" : "inherit"],
    });
    const release = watch(child);
    let out = "";
    let err = "";
    child.stdout?.on("data", (chunk) => (out += chunk));
    child.stderr?.on("data", (chunk) => (err += chunk));
    child.on("error", (error) => {
      release();
      reject(new Failure(sentence ?? `Could not run ${command}: ${error.message}.`));
    });
    child.on("close", (code, signal) => {
      release();
      if (code === 0) return resolve(out);
      if (piped && !sentence) process.stderr.write(out + err);
      const how = signal ? `was stopped by ${signal}` : `ended with status ${code}`;
      const error = new Failure(sentence ?? `${[command, ...args].join(" ")} ${how}.`);
      error.stderr = err;
      reject(error);
    });
  });
}

/** Whether a program can be run at all, and what it answers; `undefined` when it is missing or fails. */
export async function probe(command, args, options) {
  try {
    return (await run(command, args, { ...options, sentence: "" })).trim();
  } catch {
    return undefined;
  }
}

/** Starts a program that runs until `stop` is called, or until this process is gone, however it went. */
export function own(command, args, { cwd, env, onLine } = {}) {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...QUIET, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const release = watch(child);
  const tail = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    let rest = "";
    stream.on("data", (chunk) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        tail.push(line);
        if (tail.length > 50) tail.shift();
        onLine?.(line);
      }
    });
  }
  const ended = new Promise((resolve) => {
    child.once("error", (error) => (release(), resolve(error.message)));
    child.once("exit", (code, signal) => (release(), resolve(signal ?? `status ${code}`)));
  });
  return {
    child,
    ended,
    /** The last lines it wrote, for the message when it dies. */
    tail: () => tail.join("\n"),
    alive: () => child.exitCode === null && child.signalCode === null && child.pid !== undefined,
    async stop(signal = "SIGTERM") {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      const late = setTimeout(() => child.kill("SIGKILL"), 3_000);
      await ended;
      clearTimeout(late);
    },
  };
}

// The watchdog is a small process holding the read end of a pipe from us. When we are gone, by
// whatever signal, the pipe closes and it kills the children still registered.
let watchdog;

/** Registers a child with the watchdog; the returned function takes it off again. */
export function watch(child) {
  if (!watchdog) {
    watchdog = spawn(process.execPath, [fileURLToPath(new URL("./watchdog.mjs", import.meta.url))], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    watchdog.unref();
    watchdog.stdin.unref();
    watchdog.stdin.on("error", () => {});
  }
  const { pid } = child;
  if (pid === undefined) return () => {};
  watchdog.stdin.write(`+${pid}\n`);
  let released = false;
  const release = () => {
    if (!released) watchdog.stdin.write(`-${pid}\n`);
    released = true;
  };
  child.once("exit", release);
  return release;
}

/** Calls `gone` once the process that started us has ended, so that a killed `npm` leaves nothing behind. */
export function whenParentEnds(gone) {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    gone();
  }, 500);
  timer.unref();
}
