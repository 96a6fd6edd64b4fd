// `npm run deploy`: Zonekeeper into an account, or the newer one in the place of the older. What is there already is
// left alone, so that a second run changes nothing.
//
// Needs CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID; for the first time also ZONEKEEPER_UPSTREAM_TOKEN, the token
// that Zonekeeper is to hold. CLOUDFLARE_API_BASE_URL sends the calls elsewhere, such as through a Zonekeeper.
//   --dry-run              say what would be done, and change nothing
//   --root-key-file FILE   keep the root key there instead of showing it
//   --settings DIR         where zonekeeper.deploy.toml is (here)
//   --wait SECS            how long to wait until it answers (180)
//   --force                upload also what is deployed already

import { writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Api } from "./lib/api.mjs";
import { RELEASE, buildAll } from "./lib/build.mjs";
import { Cloudflare } from "./lib/cloudflare.mjs";
import { configuration, hostNames, moduleDigests, readSettings, rootKeyIn, tagOf, withSecretsFile, writeConfiguration } from "./lib/deploy-settings.mjs";
import { applyDocument, differences } from "./lib/document.mjs";
import { Installation } from "./lib/installation.mjs";
import { at, readIfThere } from "./lib/paths.mjs";
import { run } from "./lib/processes.mjs";
import { Failure, main, progress } from "./lib/report.mjs";
import { MAKE, askHidden } from "./lib/secrets.mjs";
import { enter } from "./lib/setup.mjs";

const POLL_MS = 1_000;

async function deploy(options) {
  const directory = path.resolve(options.settings);
  const settings = await readSettings(directory);
  const env = environment(settings);
  await buildAll({ variants: [RELEASE], simulator: false });
  const digests = await moduleDigests();
  for (const [file, digest] of Object.entries(digests)) say("Module", `${file} sha256:${digest}`);

  const installation = new Installation(new Cloudflare({ base: env.base, token: env.token }), env.account, settings);
  await installation.survey();
  const secrets = await missingSecrets(installation, options, env);
  const rootKey = secrets.ROOT_KEY ?? (options["root-key-file"] && (await rootKeyIn(options["root-key-file"])));
  const url = process.env.ZONEKEEPER_URL?.replace(/\/+$/, "") || `https://${hostNames(settings, installation.subdomain)[0]}`;
  sayFound(installation, settings);
  if (options["dry-run"]) {
    sayDry(installation, settings, secrets, digests, options);
    return;
  }

  await installation.make(say);
  const config = configuration(settings, installation);
  const tag = tagOf(config, digests);
  const isNeeded = options.force || !installation.holds(tag) || Object.keys(secrets).length > 0;
  const file = await writeConfiguration(isNeeded ? installation.lacking(config) : config, directory);
  say("Configuration", path.relative(process.cwd(), file));
  if (isNeeded) {
    await keepRootKey(secrets.ROOT_KEY, options["root-key-file"]);
    await upload({ file, secrets, tag, env, settings });
  } else {
    say("Worker", `${settings.name} is this version already`);
  }
  await untilReady(url, options.wait);
  await apply(url, rootKey);
  process.stdout.write(nextSteps(url, rootKey, options["root-key-file"]));
}

/** What the environment says, or one sentence about what it lacks. */
function environment(settings) {
  const { CLOUDFLARE_API_TOKEN: token, CLOUDFLARE_ACCOUNT_ID, CLOUDFLARE_API_BASE_URL: base } = process.env;
  if (!token) throw new Failure("CLOUDFLARE_API_TOKEN is missing: make a token as docs/install.md says and set it.");
  const account = CLOUDFLARE_ACCOUNT_ID || settings.account;
  if (!account) throw new Failure("CLOUDFLARE_ACCOUNT_ID is missing: set it to the id of the account to install into.");
  if (settings.account && settings.account !== account) {
    throw new Failure("CLOUDFLARE_ACCOUNT_ID and account_id in zonekeeper.deploy.toml name different accounts: take one of them away.");
  }
  if (!/^[0-9a-f]{32}$/.test(account)) throw new Failure("CLOUDFLARE_ACCOUNT_ID must have 32 hexadecimal digits.");
  return { token, account, base: base || undefined };
}

/** Values of the secrets the Worker lacks. Those it has are never touched. */
async function missingSecrets({ live }, options, env) {
  const has = new Set(live?.secrets);
  const secrets = {};
  for (const name of ["KEY_PEPPER", "AUDIT_SIGNING_KEY"]) if (!has.has(name)) secrets[name] = MAKE[name]();
  // Somebody may have taken the root key away on purpose: then only who asks for one by its file gets one.
  const file = options["root-key-file"];
  if (!has.has("ROOT_KEY") && (!live || file)) {
    if (!file && !process.stdout.isTTY && !options["dry-run"]) {
      throw new Failure("There is no terminal to show the root key on: name a file for it with --root-key-file.");
    }
    secrets.ROOT_KEY = (file && (await rootKeyIn(file))) ?? MAKE.ROOT_KEY();
  }
  const hasLegacy = has.has("CLOUDFLARE_EMAIL") && has.has("CLOUDFLARE_API_KEY");
  if (!has.has("CLOUDFLARE_API_TOKEN") && !hasLegacy) secrets.CLOUDFLARE_API_TOKEN = await upstreamToken(options, env);
  return secrets;
}

async function upstreamToken(options, env) {
  let token = process.env.ZONEKEEPER_UPSTREAM_TOKEN?.trim();
  if (!token && options["dry-run"]) return undefined;
  if (!token && process.stdin.isTTY) token = await askHidden("The API token that Zonekeeper is to hold (docs/install.md says which): ");
  if (!token) throw new Failure("ZONEKEEPER_UPSTREAM_TOKEN is missing: set it to the API token that Zonekeeper is to hold; docs/install.md says which.");
  // It is put once and kept, so a wrong one is better found now.
  const owner = new Cloudflare({ base: env.base, token });
  for (const place of ["/user", `/accounts/${env.account}`]) {
    const verified = await owner.get(`${place}/tokens/verify`).catch(() => undefined);
    if (verified?.status === "active") return token;
  }
  throw new Failure("ZONEKEEPER_UPSTREAM_TOKEN is no active API token: set the one made for Zonekeeper, as docs/install.md says.");
}

function sayFound({ database, namespace, queues, live }, settings) {
  if (database) say("D1 database", `${settings.database} found (${database.id})`);
  if (namespace) say("KV namespace", `${settings.namespace} found (${namespace.id})`);
  for (const { name, id } of queues) if (id) say("Queue", `${name} found (${id})`);
  for (const name of live?.secrets ?? []) say("Secret", `${name} is set and stays`);
}

function sayDry(installation, settings, secrets, digests, { force }) {
  const { database, namespace, queues } = installation;
  if (!database) say("D1 database", `${settings.database} would be made`);
  if (!namespace) say("KV namespace", `${settings.namespace} would be made`);
  for (const { name, id } of queues) if (!id) say("Queue", `${name} would be made`);
  for (const name of Object.keys(secrets)) say("Secret", `${name} would be set`);
  const isComplete = database && namespace && queues.every(({ id }) => id) && Object.keys(secrets).length === 0;
  const isDeployed = isComplete && !force && installation.holds(tagOf(configuration(settings, installation), digests));
  say("Worker", isDeployed ? `${settings.name} is this version already` : `${settings.name} would be deployed`);
  process.stdout.write("Nothing was changed (--dry-run).\n");
}

/** Before the upload: whatever happens after it, the key is not lost. */
async function keepRootKey(key, file) {
  if (!key) return;
  if (!file) {
    say("Root key", `${key}  (shown this once; keep it safe)`);
    return;
  }
  if (await rootKeyIn(file)) return;
  await writeFile(file, `${key}\n`, { mode: 0o600, flag: "wx" });
  say("Root key", `written to ${file}`);
}

async function upload({ file, secrets, tag, env, settings }) {
  const wrangler = ["--no-warnings", at("node_modules/wrangler/bin/wrangler.js"), "deploy", "--config", file, "--tag", tag];
  const names = Object.keys(secrets);
  const options = {
    cwd: path.dirname(file),
    quiet: true,
    env: { CLOUDFLARE_API_TOKEN: env.token, CLOUDFLARE_ACCOUNT_ID: env.account, FORCE_COLOR: "0" },
  };
  try {
    if (names.length === 0) await run(process.execPath, wrangler, options);
    else await withSecretsFile(secrets, (kept) => run(process.execPath, [...wrangler, "--secrets-file", kept], options));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure("wrangler deploy failed with what is shown above: mend that and run npm run deploy again, which goes on from there.");
  }
  for (const name of names) say("Secret", `${name} set`);
  say("Worker", `${settings.name} deployed`);
}

/** Until it answers that its database is migrated; a new host name takes a while to be known. */
async function untilReady(url, seconds) {
  progress(`${url}/readyz …`);
  const deadline = Date.now() + seconds * 1_000;
  for (let last; ; await sleep(POLL_MS)) {
    try {
      const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(10_000) });
      const body = await answer.json().catch(() => undefined);
      if (answer.ok && body?.status === "ready") {
        say("Ready", `${url}, its database is migrated`);
        for (const warning of body.warnings) say("Warning", warning);
        return;
      }
      last = body?.status ?? `status ${answer.status}`;
    } catch (error) {
      last = error.cause?.message ?? error.message;
    }
    if (Date.now() > deadline) {
      throw new Failure(`${url}/readyz was not ready within ${seconds} s (${last}): run npm run deploy again in a few minutes; npx wrangler tail shows what the Worker says.`);
    }
  }
}

async function apply(url, rootKey) {
  const text = await readIfThere(at("zonekeeper.toml"));
  const key = process.env.ZONEKEEPER_KEY || rootKey;
  if (text === undefined) return say("Grants", "none, as there is no zonekeeper.toml");
  if (!key) return say("Grants", "zonekeeper.toml was not applied: set ZONEKEEPER_KEY to a key with Zonekeeper Config Write");
  const { version, changes, messages } = await applyDocument(new Api(url, key), text).catch((error) => {
    if (!(error instanceof Failure)) throw error;
    throw new Failure(`Zonekeeper is deployed and ready, but ${error.message} Correct it and run npm run apply.`);
  });
  for (const line of [...differences(changes), ...messages]) say("Grants", line);
  say("Grants", `zonekeeper.toml ${changes.length > 0 ? "applied" : "is in force already"} (version ${version})`);
}

function nextSteps(url, rootKey, file) {
  const key = file ? `$(cat ${file})` : "$ROOT_KEY";
  const mint = `curl -X POST ${url}/api/v1/principals/NAME/keys -H "Authorization: Bearer ${key}" --json '{}'`;
  return [
    "",
    `Zonekeeper  ${url}`,
    ...(rootKey ? ["Next, a key for one of the principals of zonekeeper.toml:", `  ${mint}`] : []),
    "Point a client at it:",
    `  CLOUDFLARE_API_BASE_URL=${url}/client/v4 CLOUDFLARE_API_TOKEN=<that key> npx wrangler whoami`,
    "docs/install.md has upgrades and the way back, docs/break-glass.md what to prepare for a bad day.",
    "",
  ].join("\n");
}

function say(what, text) {
  process.stdout.write(`${what.padEnd(14)} ${text}\n`);
}

function readOptions() {
  const flags = { "dry-run": false, "root-key-file": undefined, settings: at(), wait: "180", force: false };
  const options = Object.entries(flags).map(([name, value]) => [name, { type: typeof value === "boolean" ? "boolean" : "string" }]);
  let values;
  try {
    ({ values } = parseArgs({ options: Object.fromEntries(options) }));
  } catch (error) {
    const known = Object.keys(flags).map((name) => `--${name}`);
    throw new Failure(`${error.message.split(".")[0]}: npm run deploy knows ${known.join(", ")}.`);
  }
  const wait = Number(values.wait ?? flags.wait);
  if (!Number.isInteger(wait) || wait < 1) throw new Failure(`--wait must be a number of seconds, not ${values.wait}.`);
  return { ...flags, ...values, wait };
}

await main(async () => {
  await enter(fileURLToPath(import.meta.url));
  await deploy(readOptions());
});
