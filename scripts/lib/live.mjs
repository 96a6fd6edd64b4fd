// The real Cloudflare API, for `npm start -- --live`: says whose account it is before anything starts.

import { Failure } from "./report.mjs";

const BASE = "https://api.cloudflare.com/client/v4";
const OWN = ["OWN_ACCOUNT_ID", "OWN_SCRIPT_NAME", "OWN_D1_ID", "OWN_D1_NAME", "OWN_KV_ID", "OWN_QUEUE_IDS", "OWN_HOSTNAMES"];

export async function liveUpstream() {
  const token = process.env.CLOUDFLARE_API_TOKEN;
  if (!token) throw new Failure("--live needs the variable CLOUDFLARE_API_TOKEN.");
  const accounts = await read("/accounts?per_page=50", token);
  const zones = await read("/zones?per_page=50", token);
  if (zones.length === 0) throw new Failure("The token of --live sees no zone.");
  process.stderr.write(`Accounts: ${accounts.map((account) => account.name).join(", ") || "none"}\n`);
  process.stderr.write(`Zones: ${zones.map((zone) => zone.name).join(", ")}\n`);
  const own = Object.fromEntries(OWN.map((name) => [name, process.env[name] ?? ""]));
  // The gateway refuses writes while it does not know which resources are its own.
  const missing = OWN.filter((name) => !own[name]);
  if (missing.length > 0) process.stderr.write(`Read-only, as ${missing.join(", ")} are not set.\n`);
  return { baseUrl: BASE, token, own, zone: zones[0] };
}

async function read(path, token) {
  let answer;
  try {
    answer = await fetch(BASE + path, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(15_000),
    });
  } catch (error) {
    throw new Failure(`The Cloudflare API could not be reached: ${error.cause?.message ?? error.message}.`);
  }
  const body = await answer.json().catch(() => ({}));
  if (!body.success) {
    const why = body.errors?.map((error) => error.message).join(" ") || `status ${answer.status}`;
    throw new Failure(`The Cloudflare API refused GET ${path.split("?")[0]}: ${why}`);
  }
  return body.result;
}
