// What is to be deployed: wrangler.toml as it is committed, what zonekeeper.deploy.toml says of this account, and
// the ids of what was found or made there. Together they are the configuration wrangler gets.

import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { RELEASE } from "./build.mjs";
import { at, fileHash, readIfThere } from "./paths.mjs";
import { Failure } from "./report.mjs";

const FILE = "zonekeeper.deploy.toml";

/** Generated beside that file, and git-ignored. */
const GENERATED = "wrangler.deploy.json";

const HOST = /^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$/;
const SCRIPT = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** The vars of wrangler.toml that an account sets for itself; the others are Zonekeeper's own. */
const VARS = ["ZONEKEEPER_LOCATION", "ACCESS_TEAM_DOMAIN", "ACCESS_AUD"];

/** What may stand in zonekeeper.deploy.toml, by wrangler's own names, and what each must be. */
const FIELDS = {
  name: ["a name of lower-case letters, digits and hyphens", (value) => typeof value === "string" && SCRIPT.test(value)],
  account_id: ["an account id of 32 hexadecimal digits", (value) => /^[0-9a-f]{32}$/.test(value)],
  workers_dev: ["true or false", (value) => typeof value === "boolean"],
  routes: ["a list of tables with a pattern", (value) => Array.isArray(value) && value.every((route) => typeof route?.pattern === "string")],
  vars: ["a table of texts", (value) => Object.values(Object(value)).every((text) => typeof text === "string")],
};

/** Reads wrangler.toml, and zonekeeper.deploy.toml in `directory` where it is. */
export async function readSettings(directory) {
  const { experimental_readRawConfig: read } = await import("wrangler");
  const { rawConfig: base } = read({ config: at("wrangler.toml") });
  const own = await ownFile(read, path.join(directory, FILE));
  for (const [field, value] of Object.entries(own)) {
    if (!FIELDS[field]) {
      throw new Failure(`${FILE}: ${field} is not known there; it takes ${Object.keys(FIELDS).join(", ")}.`);
    }
    const [what, fits] = FIELDS[field];
    if (!fits(value)) throw new Failure(`${FILE}: ${field} must be ${what}.`);
  }
  for (const name of Object.keys(own.vars ?? {})) {
    if (!VARS.includes(name)) throw new Failure(`${FILE}: vars.${name} is not known there; it takes ${VARS.join(", ")}.`);
  }
  const routes = own.routes ?? [];
  const hosts = routes.map(({ pattern }) => hostOf(pattern));
  const isOnWorkersDev = own.workers_dev ?? routes.length === 0;
  if (hosts.length === 0 && !isOnWorkersDev) {
    throw new Failure(`${FILE}: routes is empty and workers_dev is false, so nobody could reach it; set one of them.`);
  }
  return {
    name: own.name ?? base.name,
    account: own.account_id,
    isOnWorkersDev,
    routes,
    hosts,
    vars: own.vars ?? {},
    base,
    database: base.d1_databases[0].database_name,
    namespace: `${base.name}-blobs`,
    consumers: base.queues.consumers,
    crons: base.triggers.crons,
  };
}

async function ownFile(read, file) {
  if ((await readIfThere(file)) === undefined) return {};
  try {
    return read({ config: file }).rawConfig;
  } catch (error) {
    throw new Failure(`${FILE} cannot be read: ${error.message.split("\n")[0]}`);
  }
}

/** Zonekeeper must know every name it answers at, so no star stands for some of them. */
function hostOf(pattern) {
  const host = pattern.split("/")[0];
  if (!HOST.test(host)) {
    throw new Failure(`${FILE}: the pattern ${pattern} must begin with a whole host name in lower case, without *.`);
  }
  return host;
}

/** The names it will answer at, those of its own zones first. */
export function hostNames({ name, hosts, isOnWorkersDev }, subdomain) {
  return [...new Set([...hosts, ...(isOnWorkersDev ? [`${name}.${subdomain}.workers.dev`] : [])])];
}

/** SHA-256 of each module, by its name: what a grant lists in `workers.digests`. */
export async function moduleDigests() {
  const files = ["index.js", "index_bg.wasm"];
  const digests = await Promise.all(files.map((file) => fileHash(path.join(at(RELEASE.out), file))));
  return Object.fromEntries(files.map((file, index) => [file, digests[index]]));
}

/** The whole configuration for wrangler; `found` has the ids of everything. */
export function configuration(settings, found) {
  const { build: _, ...config } = structuredClone(settings.base);
  config.name = settings.name;
  config.account_id = found.account;
  config.workers_dev = settings.isOnWorkersDev;
  // Old versions must not be reached at addresses of their own.
  config.preview_urls = false;
  if (settings.routes.length > 0) config.routes = settings.routes;
  config.d1_databases[0].database_id = found.database.id;
  config.kv_namespaces[0].id = found.namespace.id;
  config.vars = {
    ...config.vars,
    ...settings.vars,
    OWN_ACCOUNT_ID: found.account,
    OWN_SCRIPT_NAME: settings.name,
    OWN_D1_ID: found.database.id,
    OWN_D1_NAME: settings.database,
    OWN_KV_ID: found.namespace.id,
    OWN_QUEUE_IDS: found.queues.map(({ id }) => id).join(","),
    OWN_HOSTNAMES: hostNames(settings, found.subdomain).join(","),
  };
  return config;
}

/**
 * What a version is tagged with: the same tag is the same code with the same configuration. Cut to 96 bits, as a tag
 * is short; it is no protection, only a reason to upload again.
 */
export function tagOf(config, digests) {
  const text = JSON.stringify([digests, config]);
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}

/** Writes it into `directory`, from where wrangler reads the paths in it, and returns the file. */
export async function writeConfiguration(config, directory) {
  const from = (file) => path.relative(directory, at(file));
  const [database] = config.d1_databases;
  const moved = {
    ...config,
    main: from(config.main),
    base_dir: from(config.base_dir),
    d1_databases: [{ ...database, migrations_dir: from(database.migrations_dir) }],
  };
  const file = path.join(directory, GENERATED);
  await writeFile(file, `${JSON.stringify(moved, null, 2)}\n`);
  return file;
}

/** Runs `work` with the path of a file that only we can read, and that is gone afterwards. */
export async function withSecretsFile(secrets, work) {
  const directory = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-secrets-"));
  const file = path.join(directory, "secrets.json");
  try {
    await writeFile(file, JSON.stringify(secrets), { mode: 0o600 });
    return await work(file);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The root key kept in a file, if there is one. */
export async function rootKeyIn(file) {
  const text = await readFile(file, "utf8").catch((error) => {
    if (error.code === "ENOENT") return undefined;
    throw new Failure(`${file} cannot be read: ${error.message}.`);
  });
  const key = text?.trim();
  if (key !== undefined && !/^[A-Za-z0-9_-]{40}$/.test(key)) {
    throw new Failure(`${file} holds no root key of 40 characters: name another file with --root-key-file.`);
  }
  return key;
}
