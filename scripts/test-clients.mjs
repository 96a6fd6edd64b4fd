// `npm run test:clients`: real clients, unchanged. First against the simulator, so that it does not merely agree with
// its author, then certbot through the gateway. wrangler through the gateway is part of `npm test`.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { buildAll } from "./lib/build.mjs";
import { at } from "./lib/paths.mjs";
import { QUIET, watch } from "./lib/processes.mjs";
import { main, progress, seconds } from "./lib/report.mjs";
import { enter } from "./lib/setup.mjs";

/** `[name, command, arguments]`; each ends with 0 if everything it tried came out as it should. */
const CLIENTS = [
  ["SDK: zones and records", process.execPath, ["sdk-direct.mjs"]],
  ["SDK: Workers, KV, D1, R2, Queues", process.execPath, ["sdk-workers.mjs"]],
  ["SDK: other products", process.execPath, ["sdk-products.mjs"]],
  ["wrangler", process.execPath, ["wrangler.mjs"]],
  ["octoDNS", "sh", ["octodns-direct.sh"]],
  ["certbot through the gateway", process.execPath, ["certbot.mjs"]],
];

function run(command, [script, ...args], env) {
  return new Promise((resolve, reject) => {
    const options = { cwd: at(), env: { ...process.env, ...QUIET, ...env }, stdio: "inherit" };
    const child = spawn(command, [at("tests", "clients", script), ...args], options);
    watch(child);
    child.on("error", reject);
    child.on("close", resolve);
  });
}

await main(async () => {
  await enter(fileURLToPath(import.meta.url));
  await buildAll();
  const { Simulator } = await import("../tests/workerd/lib/simulator.mjs");
  const simulator = await Simulator.start();
  const base = `${simulator.url}/client/v4`;
  const env = {
    CLOUDFLARE_BASE_URL: base,
    CLOUDFLARE_API_BASE_URL: base,
    CLOUDFLARE_API_TOKEN: simulator.state.token,
    CLOUDFLARE_ACCOUNT_ID: simulator.state.accounts[0].id,
  };
  const failed = [];
  try {
    for (const [name, command, args] of CLIENTS) {
      progress(name);
      const from = Date.now();
      const code = await run(command, args, env);
      process.stdout.write(`${code === 0 ? "ok  " : "FAIL"}  ${name} (${seconds(Date.now() - from)})\n`);
      if (code !== 0) failed.push(name);
    }
  } finally {
    await simulator.stop();
  }
  process.stdout.write(failed.length === 0 ? `${CLIENTS.length} clients, all as they should\n` : `failed: ${failed.join(", ")}\n`);
  process.exit(failed.length === 0 ? 0 : 1);
});
