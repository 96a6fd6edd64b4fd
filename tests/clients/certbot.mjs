// certbot through the gateway: a certificate for example.com and *.example.com from Debian's `pebble`, with a
// key that may write `_acme-challenge` TXT records and nothing else.
//
//   node tests/clients/certbot.mjs
//
// Needs the built Worker and simulator, `python3` with venv, `openssl`, and `pebble` on the PATH or a Debian
// to take it from. CERTBOT_VENV and PEBBLE name others; what is installed is kept in `.tools/clients`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import https from "node:https";
import os from "node:os";
import path from "node:path";
import { freePort } from "../../scripts/lib/local.mjs";
import { TOOLS } from "../../scripts/lib/paths.mjs";
import { Zonekeeper, until } from "../workerd/lib/zonekeeper.mjs";

const ZONE = "example.com";
const CERTBOT = "5.8.0";
const CLIENTS = path.join(TOOLS, "clients");

const CONFIG = {
  principals: [{ name: "acme-bot", kind: "key" }],
  grants: [
    {
      name: "acme-challenges",
      principals: ["acme-bot"],
      effect: "allow",
      permissions: ["DNS Write"],
      zones: [ZONE],
      dns: { names: ["_acme-challenge.**"], types: ["TXT"] },
    },
  ],
};

/** Runs a program to its end; what it wrote, or an error with that. */
function run(command, args, { cwd, env } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${command} ended with ${code}:\n${output}`));
    });
  });
}

async function certbot() {
  const venv = process.env.CERTBOT_VENV ?? path.join(CLIENTS, `certbot-${CERTBOT}`);
  const binary = path.join(venv, "bin", "certbot");
  if (!existsSync(binary)) {
    console.log(`installing certbot into ${venv}`);
    await run("python3", ["-m", "venv", venv]);
    await run(path.join(venv, "bin", "pip"), ["install", "--quiet", `certbot==${CERTBOT}`, `certbot-dns-cloudflare==${CERTBOT}`]);
  }
  return binary;
}

async function pebble() {
  if (process.env.PEBBLE) return process.env.PEBBLE;
  const kept = path.join(CLIENTS, "pebble", "usr", "bin", "pebble");
  if (existsSync(kept)) return kept;
  const found = await run("sh", ["-c", "command -v pebble"]).catch(() => "");
  if (found) return found.trim();
  console.log(`unpacking Debian's pebble into ${CLIENTS}`);
  await mkdir(CLIENTS, { recursive: true });
  await run("apt-get", ["download", "pebble"], { cwd: CLIENTS });
  await run("sh", ["-c", "dpkg -x pebble_*.deb pebble"], { cwd: CLIENTS });
  return kept;
}

/** Starts the ACME server, which takes every challenge for passed: `{ directory, stop }`. */
async function startPebble(work) {
  const [port, management] = [await freePort(), await freePort()];
  const [certificate, privateKey] = [path.join(work, "cert.pem"), path.join(work, "key.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
  await run("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", privateKey, "-out", certificate, ...subject]);
  const config = path.join(work, "pebble.json");
  const listen = { listenAddress: `127.0.0.1:${port}`, managementListenAddress: `127.0.0.1:${management}` };
  await writeFile(config, JSON.stringify({ pebble: { ...listen, certificate, privateKey, httpPort: 5002, tlsPort: 5001 } }));
  const env = { ...process.env, PEBBLE_VA_ALWAYS_VALID: "1", PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0" };
  const child = spawn(await pebble(), ["-config", config], { env, stdio: "ignore" });
  const directory = `https://127.0.0.1:${port}/dir`;
  const answers = () =>
    new Promise((resolve) => {
      const request = https.get(directory, { rejectUnauthorized: false }, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      request.on("error", () => resolve(false));
    });
  await until(answers, { withinMs: 15_000, what: "pebble" });
  return { directory, stop: () => child.kill() };
}

/** Records of the zone at the API, in order of their text. */
async function records(zk) {
  const { result } = await zk.sim.cf("GET", `/zones/${zk.sim.zone(ZONE).id}/dns_records?per_page=5000`);
  return result.map(({ id }) => id).sort();
}

const work = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-certbot-"));
let zk;
let acme;
try {
  const binary = await certbot();
  acme = await startPebble(work);
  zk = await Zonekeeper.start({ config: CONFIG });
  const { key } = await zk.mint("acme-bot");
  const credentials = path.join(work, "cloudflare.ini");
  await writeFile(credentials, `dns_cloudflare_api_token = ${key}\n`, { mode: 0o600 });
  const [before, mark] = [await records(zk), await zk.sim.mark()];

  const folders = ["config", "work", "logs"].flatMap((name) => [`--${name}-dir`, path.join(work, name)]);
  const output = await run(
    binary,
    ["certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email", "--no-verify-ssl"]
      .concat(["--server", acme.directory, ...folders])
      .concat(["--dns-cloudflare", "--dns-cloudflare-credentials", credentials, "--dns-cloudflare-propagation-seconds", "1"])
      .concat(["-d", ZONE, "-d", `*.${ZONE}`]),
    // It warns of the unverified server with each call.
    { env: { CLOUDFLARE_BASE_URL: `${zk.url}/client/v4`, PYTHONWARNINGS: "ignore" } },
  );
  console.log(output.trim().split("\n").map((line) => `    ${line}`).join("\n"));

  const certificate = path.join(work, "config", "live", ZONE, "cert.pem");
  assert.match(await readFile(certificate, "utf8"), /BEGIN CERTIFICATE/);
  const names = await run("openssl", ["x509", "-in", certificate, "-noout", "-ext", "subjectAltName"]);
  assert.match(names, /DNS:\*\.example\.com/);
  assert.match(names, /DNS:example\.com/);
  console.log(`ok  a certificate for ${[...names.matchAll(/DNS:([^,\s]+)/g)].map(([, name]) => name).join(" and ")}`);

  const writes = await zk.sim.writes({ after: mark });
  const made = writes.filter(({ method }) => method === "POST");
  const gone = writes.filter(({ method }) => method === "DELETE");
  assert.deepEqual([made.length, gone.length, writes.length], [2, 2, 4]);
  for (const { body_base64 } of made) {
    const record = JSON.parse(Buffer.from(body_base64, "base64").toString("utf8"));
    assert.deepEqual([record.type, record.name], ["TXT", `_acme-challenge.${ZONE}`]);
  }
  console.log("ok  2 challenges made and deleted again, nothing else written");
  assert.deepEqual(await records(zk), before);
  console.log("ok  the zone is as it was");
  const entries = await until(
    async () => {
      const found = (await zk.audit({ principal: "acme-bot", limit: 1000 })).filter(({ method }) => ["POST", "DELETE"].includes(method));
      return found.length === 4 && found.every(({ outcome }) => outcome === "confirmed") ? found : undefined;
    },
    { what: "the audit log" },
  );
  for (const { sentence } of entries.reverse()) console.log(`ok  ${sentence}`);
} finally {
  acme?.stop();
  await zk?.stop();
  await rm(work, { recursive: true, force: true });
}
