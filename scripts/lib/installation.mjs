// What there is of Zonekeeper in an account, and making what is missing. Reading changes nothing.

import { isDeepStrictEqual as isEqual } from "node:util";
import { Failure } from "./report.mjs";

/** What the deploying token needs for each thing, by the names of Cloudflare's permission groups. */
const NEEDS = {
  d1: "D1 Write",
  kv: "Workers KV Storage Write",
  queues: "Queues Write",
  scripts: "Workers Scripts Write",
};

/** Where D1 can be told to be; Durable Objects know some more places. */
const D1_LOCATIONS = ["wnam", "enam", "weur", "eeur", "apac", "oc"];

export class Installation {
  #cf;
  #account;
  #settings;

  constructor(cf, account, settings) {
    this.#cf = cf;
    this.#account = `/accounts/${account}`;
    this.#settings = settings;
    this.account = account;
  }

  /** Reads everything: what is missing is left undefined. */
  async survey() {
    const { database, namespace, consumers } = this.#settings;
    this.database = await this.#cf.find(`${this.#account}/d1/database?name=${database}`, NEEDS.d1, ({ name }) => name === database);
    if (this.database) this.database.id = this.database.uuid;
    this.namespace = await this.#cf.find(`${this.#account}/storage/kv/namespaces`, NEEDS.kv, ({ title }) => title === namespace);
    this.queues = [];
    for (const { queue: name } of consumers) {
      const found = await this.#cf.find(`${this.#account}/queues?name=${name}`, NEEDS.queues, ({ queue_name }) => queue_name === name);
      this.queues.push({ name, id: found?.queue_id, consumers: found?.consumers ?? [] });
    }
    await this.#readScript();
    await this.#readNames();
    this.#refuseOthers();
  }

  /** Makes the database, the namespace and the queues that are missing, each said by `say`. */
  async make(say) {
    const { database, namespace, vars } = this.#settings;
    if (!this.database) {
      const location = vars.ZONEKEEPER_LOCATION;
      const hint = D1_LOCATIONS.includes(location) ? { primary_location_hint: location } : {};
      const made = await this.#cf.post(`${this.#account}/d1/database`, NEEDS.d1, { name: database, ...hint });
      this.database = { id: made.uuid };
      say("D1 database", `${database} made (${made.uuid})`);
    }
    if (!this.namespace) {
      this.namespace = await this.#cf.post(`${this.#account}/storage/kv/namespaces`, NEEDS.kv, { title: namespace });
      say("KV namespace", `${namespace} made (${this.namespace.id})`);
    }
    for (const queue of this.queues.filter(({ id }) => !id)) {
      const made = await this.#cf.post(`${this.#account}/queues`, NEEDS.queues, { queue_name: queue.name });
      queue.id = made.queue_id;
      say("Queue", `${queue.name} made (${made.queue_id})`);
    }
  }

  /** Whether a version with this tag has all traffic, and everything that starts it is in place. */
  holds(tag) {
    return (
      this.live?.tag === tag &&
      this.isOnWorkersDev === this.#settings.isOnWorkersDev &&
      this.#hasHosts() &&
      this.#hasSchedule() &&
      this.#hasConsumers()
    );
  }

  /**
   * The configuration without what is in place already, which wrangler then leaves as it is. So whoever deploys
   * newer code through Zonekeeper needs no right to set vars, schedules, host names or consumers, and cannot point
   * Zonekeeper elsewhere.
   */
  lacking(config) {
    if (!this.live) return config;
    const rest = structuredClone(config);
    if (isEqual(this.live.vars, rest.vars)) {
      delete rest.vars;
      rest.keep_vars = true;
    }
    if (this.#hasSchedule()) delete rest.triggers;
    if (this.#hasHosts()) delete rest.routes;
    if (this.#hasConsumers()) delete rest.queues.consumers;
    return rest;
  }

  #hasHosts() {
    const { routes } = this.#settings;
    const wanted = (isDomain) => routes.filter(({ custom_domain }) => Boolean(custom_domain) === isDomain).map(({ pattern }) => pattern);
    return isEqual(wanted(true).sort(), this.domains.sort()) && isEqual(wanted(false).sort(), this.patterns.sort());
  }

  #hasSchedule() {
    return isEqual(this.#settings.crons, this.crons);
  }

  #hasConsumers() {
    const { name, consumers } = this.#settings;
    return consumers.every((wanted) => {
      const queue = this.queues.find((found) => found.name === wanted.queue);
      return queue.consumers.some(
        (consumer) =>
          scriptOf(consumer) === name &&
          consumer.settings?.batch_size === wanted.max_batch_size &&
          consumer.settings.max_retries === wanted.max_retries &&
          consumer.settings.max_wait_time_ms === wanted.max_batch_timeout * 1_000 &&
          (consumer.dead_letter_queue || undefined) === wanted.dead_letter_queue,
      );
    });
  }

  /** The version that has all traffic, and what it is bound to. */
  async #readScript() {
    const script = `${this.#account}/workers/scripts/${this.#settings.name}`;
    const listed = await this.#cf.get(`${script}/deployments`, NEEDS.scripts);
    const versions = listed?.deployments?.[0]?.versions;
    if (!versions) return;
    if (versions.length > 1) {
      const shares = versions.map(({ version_id, percentage }) => `${percentage} % ${version_id}`).join(", ");
      throw new Failure(`A gradual deployment of ${this.#settings.name} is under way (${shares}): end it with npx wrangler versions deploy, then run npm run deploy again.`);
    }
    const version = await this.#cf.get(`${script}/versions/${versions[0].version_id}`, NEEDS.scripts);
    if (!version) throw new Failure(`The version ${versions[0].version_id} of ${this.#settings.name} cannot be read; run npm run deploy again.`);
    const bindings = version.resources.bindings;
    const texts = bindings.filter(({ type }) => type === "plain_text").map(({ name, text }) => [name, text]);
    this.live = {
      tag: version.annotations?.["workers/tag"],
      vars: Object.fromEntries(texts),
      secrets: bindings.filter(({ type }) => type === "secret_text").map(({ name }) => name),
    };
    this.crons = ((await this.#cf.get(`${script}/schedules`, NEEDS.scripts))?.schedules ?? []).map(({ cron }) => cron);
    this.isOnWorkersDev = (await this.#cf.get(`${script}/subdomain`, NEEDS.scripts))?.enabled === true;
  }

  async #readNames() {
    const { name, hosts, routes, isOnWorkersDev } = this.#settings;
    if (isOnWorkersDev) {
      this.subdomain = (await this.#cf.get(`${this.#account}/workers/subdomain`, NEEDS.scripts))?.subdomain;
      if (!this.subdomain) {
        throw new Failure("The account has no workers.dev subdomain yet: open Workers in the dashboard once, or set routes in zonekeeper.deploy.toml.");
      }
    }
    const domains = (await this.#cf.get(`${this.#account}/workers/domains`, NEEDS.scripts)) ?? [];
    this.domains = domains.filter(({ service }) => service === name).map(({ hostname }) => hostname);
    this.foreign = domains.find(({ hostname, service }) => hosts.includes(hostname) && service !== name);
    const isRouted = this.live && routes.some(({ custom_domain }) => !custom_domain);
    const routed = isRouted
      ? await this.#cf.get(`${this.#account}/workers/services/${name}/environments/production/routes`, NEEDS.scripts)
      : [];
    this.patterns = (routed ?? []).map(({ pattern }) => pattern);
  }

  /** What belongs to another Worker is not taken from it. */
  #refuseOthers() {
    const { name, routes } = this.#settings;
    // wrangler detaches names only where it attaches others.
    if (this.domains.length > 0 && !routes.some(({ custom_domain }) => custom_domain)) {
      throw new Failure(`The host name ${this.domains[0]} leads to ${name} and is not in zonekeeper.deploy.toml: add it to routes, or take it away in the dashboard.`);
    }
    if (this.foreign) {
      throw new Failure(`The host name ${this.foreign.hostname} belongs to the Worker ${this.foreign.service}: take it away there, or choose another one.`);
    }
    for (const queue of this.queues) {
      const other = queue.consumers.map(scriptOf).find((script) => script !== name);
      if (other) {
        throw new Failure(`The queue ${queue.name} is consumed by the Worker ${other}: an account has one Zonekeeper; set name = "${other}" in zonekeeper.deploy.toml, or delete that Worker first.`);
      }
    }
  }
}

function scriptOf({ script, script_name }) {
  return script ?? script_name;
}
