// Starts the simulator of the Cloudflare API and speaks to its control endpoints.

import { setTimeout as sleep } from "node:timers/promises";
import { own } from "./processes.mjs";
import { Failure } from "./report.mjs";

/** Starts the simulator's binary on `port` and waits until it answers. */
export async function startSimulator({ binary, port, onLine }) {
  const url = `http://127.0.0.1:${port}`;
  const process = own(binary, [], { env: { SIMULATOR_PORT: String(port) }, onLine });
  const deadline = Date.now() + 15_000;
  for (;;) {
    if (!process.alive()) throw new Failure(`The simulator ended at once:\n${process.tail()}`);
    try {
      const answer = await fetch(`${url}/__sim/state`, { signal: AbortSignal.timeout(1_000) });
      if (answer.ok) return { url, process, state: await answer.json(), stop: () => process.stop() };
    } catch {
      // Not listening yet.
    }
    if (Date.now() > deadline) {
      await process.stop("SIGKILL");
      throw new Failure(`The simulator did not answer on ${url} within 15 seconds.`);
    }
    await sleep(20);
  }
}

/** Vars that tell the gateway which resources are its own, as a deploy would set them. */
export function ownResources(state) {
  return {
    OWN_ACCOUNT_ID: state.accounts[0].id,
    OWN_SCRIPT_NAME: "zonekeeper",
    OWN_D1_ID: "5a6f6e65-6b65-4570-8572-000000000d10",
    OWN_D1_NAME: "zonekeeper",
    OWN_KV_ID: "5a6f6e656b656570657200000000006b",
    OWN_QUEUE_IDS: "5a6f6e656b6565706572000000000071,5a6f6e656b6565706572000000000072",
    OWN_HOSTNAMES: "zonekeeper.example.com",
  };
}
