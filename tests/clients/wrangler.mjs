// wrangler, unchanged, against an API: who it is, deploys with assets, a secret, versions, a
// rollback, KV, D1, and the end of the Worker.
//
//   CLOUDFLARE_API_BASE_URL=http://127.0.0.1:8788/client/v4 CLOUDFLARE_API_TOKEN=… \
//   CLOUDFLARE_ACCOUNT_ID=… node wrangler.mjs
//
// CLIENT_WORKER names the Worker (wrangler-site), CLIENT_KV the namespace it is bound to
// (site-cache), CLIENT_ROUTE a route to deploy it to (none). One line per step; the exit code is 1
// if any step failed. It deletes what it made, so it can run again and again.

import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const WRANGLER = path.resolve(HERE, "../../node_modules/wrangler/bin/wrangler.js");
const VERSION_ID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;
const STEP_MS = 90_000;

/**
 * Runs every step in a copy of the sample project below `dir`, one after the other, also after one
 * that failed.
 *
 * `base` ends in `/client/v4`; without a `route` no step has one. Returns
 * `[{name, args, code, output, ok, why}]`: `ok` is whether wrangler ended with 0 and said what it
 * must, `why` is what was missing.
 */
export async function run({ base, token, account, dir, worker = "wrangler-site", namespace = "site-cache", route }) {
  const project = path.join(dir, "site");
  await cp(path.join(HERE, "wrangler-site"), project, { recursive: true });
  const kv = await namespaceId({ base, token, account, namespace });
  await configure(project, worker, kv);
  const home = path.join(dir, "home");
  await mkdir(home, { recursive: true });
  const env = environment({ base, token, account, home });
  const steps = [];
  const step = async (name, args, { says = [], never = [], input } = {}) => {
    const { code, output } = await wrangler(args, { cwd: project, env, input });
    const why = [
      ...(code === 0 ? [] : [`it ended with ${code}`]),
      ...says.filter((text) => !output.match(text)).map((text) => `it did not say ${text}`),
      ...never.filter((text) => output.match(text)).map((text) => `it said ${text}`),
    ].join("; ");
    steps.push({ name, args, code, output, ok: why === "", why });
    return output;
  };

  await step("whoami", ["whoami"], { says: [account] });
  await step("the first deploy", ["deploy"], { says: [/Uploaded 5 files/, /Current Version ID/] });
  await writeFile(path.join(project, "public", "news.html"), "<!doctype html><title>news</title>\n");
  await step("a second deploy uploads what is new", ["deploy"], { says: [/Uploaded 1 file/, /Current Version ID/] });
  await step("a secret", ["secret", "put", "API_KEY"], { input: "a secret value\n", says: [/Uploaded secret API_KEY/] });
  await step("a deploy after it", ["deploy"], { says: [/No updated asset files/, /Current Version ID/] });
  await step("the secret is kept", ["secret", "list"], { says: [/"API_KEY"/], never: [/a secret value/] });
  const uploaded = await step("versions upload", ["versions", "upload", "--tag", "v5", "--message", "not yet live"], { says: [/Worker Version ID/] });
  const version = uploaded.match(new RegExp(`Worker Version ID: (${VERSION_ID.source})`))?.[1] ?? "none";
  await step("versions deploy at 100 %", ["versions", "deploy", `${version}@100%`, "--yes"], { says: [/at 100%/] });
  await step("deployments status", ["deployments", "status"], { says: [version] });
  await step("rollback", ["rollback", "--message", "back again", "--yes"], { says: [/has been deployed to 100% of traffic/] });
  await step("deployments status after it", ["deployments", "status"], { says: [/back again/], never: [version] });
  if (route) await step("a route and a schedule", ["deploy", "--route", route, "--schedule", "0 3 * * *"], { says: [route, /schedule: 0 3 \* \* \*/] });
  await step("kv key put", ["kv", "key", "put", "a/b key", "a value", "--namespace-id", kv, "--remote"], { says: [/Writing the value/] });
  await step("kv key get", ["kv", "key", "get", "a/b key", "--namespace-id", kv, "--remote"], { says: [/a value/] });
  await step("kv key list", ["kv", "key", "list", "--namespace-id", kv, "--remote"], { says: [/"a\/b key"/] });
  await step("kv key delete", ["kv", "key", "delete", "a/b key", "--namespace-id", kv, "--remote"]);
  await step("d1 list", ["d1", "list", "--json"], { says: [/"site-db"/] });
  await step("d1 by its name", ["d1", "info", "site-db", "--json"], { says: [/"uuid"|"databaseId"|site-db/] });
  await step("delete", ["delete"], { says: [/Successfully deleted/] });
  return steps;
}

/** The id of the namespace with that title: wrangler itself is configured by id. */
async function namespaceId({ base, token, account, namespace }) {
  const answer = await fetch(`${base}/accounts/${account}/storage/kv/namespaces?per_page=100`, {
    headers: { authorization: `Bearer ${token}` },
  });
  const { result, errors } = await answer.json();
  const found = result?.find(({ title }) => title === namespace);
  if (!found) throw new Error(`There is no KV namespace ${namespace}: ${answer.status} ${JSON.stringify(errors)}`);
  return found.id;
}

async function configure(project, worker, kv) {
  const file = path.join(project, "wrangler.jsonc");
  const text = await readFile(file, "utf8");
  await writeFile(file, text.replace(/"wrangler-site"/, JSON.stringify(worker)).replace(/0{32}/, kv));
}

/** No account of the user's, no telemetry, no prompts: nothing but what is given. */
function environment({ base, token, account, home }) {
  const { PATH } = process.env;
  return {
    PATH,
    HOME: home,
    XDG_CONFIG_HOME: path.join(home, "config"),
    XDG_CACHE_HOME: path.join(home, "cache"),
    XDG_DATA_HOME: path.join(home, "data"),
    CI: "1",
    NO_COLOR: "1",
    FORCE_COLOR: "0",
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_SEND_ERROR_REPORTS: "false",
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    CLOUDFLARE_API_BASE_URL: base,
    CLOUDFLARE_API_TOKEN: token,
    CLOUDFLARE_ACCOUNT_ID: account,
  };
}

/** Runs wrangler once in the project `cwd`: `{code, output}`. */
export async function once(args, { cwd, base, token, account, home }) {
  await mkdir(home, { recursive: true });
  return wrangler(args, { cwd, env: environment({ base, token, account, home }) });
}

function wrangler(args, { cwd, env, input }) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--no-warnings", WRANGLER, ...args], { cwd, env, stdio: ["pipe", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    const late = setTimeout(() => child.kill("SIGKILL"), STEP_MS);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(late);
      resolve({ code: code ?? signal, output });
    });
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const missing = ["CLOUDFLARE_API_BASE_URL", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"].filter((name) => !process.env[name]);
  if (missing.length > 0) {
    console.error(`${missing.join(" and ")} must be set`);
    process.exit(2);
  }
  const dir = await mkdtemp(path.join(tmpdir(), "wrangler-"));
  try {
    const steps = await run({
      base: process.env.CLOUDFLARE_API_BASE_URL,
      token: process.env.CLOUDFLARE_API_TOKEN,
      account: process.env.CLOUDFLARE_ACCOUNT_ID,
      worker: process.env.CLIENT_WORKER,
      namespace: process.env.CLIENT_KV,
      route: process.env.CLIENT_ROUTE,
      dir,
    });
    for (const { name, ok, why, output } of steps) console.log(ok ? `ok    ${name}` : `FAIL  ${name}: ${why}\n${output}`);
    const failures = steps.filter(({ ok }) => !ok).length;
    console.log(failures === 0 ? "all checks passed" : `${failures} step(s) failed`);
    process.exitCode = failures === 0 ? 0 : 1;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
