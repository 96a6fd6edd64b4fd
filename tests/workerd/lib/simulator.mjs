// The simulator as the tests see it: its ledger is the oracle of what reached the API.

import { startSimulator } from "../../../scripts/lib/simulator.mjs";
import { SIMULATOR } from "../../../scripts/lib/build.mjs";
import { send } from "./http.mjs";

export class Simulator {
  #started;

  static async start({ binary = SIMULATOR } = {}) {
    const simulator = new Simulator();
    simulator.#started = await startSimulator({ binary });
    return simulator;
  }

  get url() {
    return this.#started.url;
  }

  /** Token, accounts, zones and other fixed ids, as seeded. */
  get state() {
    return this.#started.state;
  }

  /** The seeded zone of that name. */
  zone(name = "example.com") {
    return this.state.zones.find((zone) => zone.name === name);
  }

  /** Calls the API directly, past the gateway, with the upstream token: for seeding and checking. */
  cf(method, path, body, { headers = {} } = {}) {
    return send(this.url, {
      method,
      path: `/client/v4${path}`,
      headers: { authorization: `Bearer ${this.state.token}`, ...headers },
      body,
    });
  }

  /** Every request received after number `after`, oldest first: `n time method path query headers body_base64 status`. */
  async ledger({ after = 0 } = {}) {
    const { text } = await this.#control("GET", `ledger?after=${after}`);
    return text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }

  /** The number of the last request, to be given to `ledger` later. */
  async mark() {
    return (await this.ledger()).at(-1)?.n ?? 0;
  }

  /** What in the ledger may have changed something. */
  async writes(options) {
    return (await this.ledger(options)).filter(({ method }) => !["GET", "HEAD", "OPTIONS"].includes(method));
  }

  faults(list) {
    return this.#control("POST", "faults", list);
  }

  clearFaults() {
    return this.#control("DELETE", "faults");
  }

  limits(requests, window_secs) {
    return this.#control("POST", "limits", { requests, window_secs });
  }

  advance(secs) {
    return this.#control("POST", "clock", { advance_secs: secs });
  }

  /** Adds `count` records of all shapes to a zone. */
  fill(zone, count) {
    return this.#control("POST", `zones/${zone}/fill`, { count });
  }

  reset() {
    return this.#control("POST", "reset");
  }

  stop() {
    return this.#started.stop();
  }

  async #control(method, path, body) {
    const answer = await send(this.url, { method, path: `/__sim/${path}`, body });
    if (answer.status >= 300) throw new Error(`${method} /__sim/${path}: ${answer.status} ${answer.text}`);
    return answer;
  }
}
