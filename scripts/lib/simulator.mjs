// Starts the simulator of the Cloudflare API and speaks to its control endpoints.

import { setTimeout as sleep } from "node:timers/promises";
import { own } from "./processes.mjs";
import { Failure } from "./report.mjs";

const WITHIN_MS = 15_000;

/** Starts the simulator's binary on `port`, by default one that nobody has, and waits until it answers. */
export async function startSimulator({ binary, port = 0, onLine }) {
  let process;
  const listening = new Promise((resolve) => {
    process = own(binary, [], {
      env: { SIMULATOR_PORT: String(port) },
      onLine: (line) => {
        const [, url] = /^listening on (http:\S+)$/.exec(line) ?? [];
        if (url) resolve(url);
        onLine?.(line);
      },
    });
  });
  const late = new AbortController();
  const url = await Promise.race([listening, process.ended.then(() => undefined), sleep(WITHIN_MS, null, { signal: late.signal })]);
  late.abort();
  if (url === undefined) throw new Failure(`The simulator ended at once:\n${process.tail()}`);
  try {
    if (url === null) throw new Error("it is not listening");
    const answer = await fetch(`${url}/__sim/state`, { signal: AbortSignal.timeout(WITHIN_MS) });
    if (!answer.ok) throw new Error(`its state was answered ${answer.status}`);
    return { url, process, state: await answer.json(), stop: () => process.stop() };
  } catch (error) {
    await process.stop("SIGKILL");
    throw new Failure(`The simulator did not answer within ${WITHIN_MS / 1000} seconds: ${error.message}.`);
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
