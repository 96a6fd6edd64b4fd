// A caller of the v4 API for `npm run deploy`: Cloudflare itself, or a Zonekeeper in front of it.

import { Failure } from "./report.mjs";

const DEFAULT_BASE = "https://api.cloudflare.com/client/v4";
const PER_PAGE = 100;

export class Cloudflare {
  #base;
  #token;

  constructor({ base = DEFAULT_BASE, token }) {
    this.#base = base.replace(/\/+$/, "");
    this.#token = token;
  }

  /**
   * The result of a read; `undefined` where the API says 404. `needs` is the permission group that a refusal
   * is explained by.
   */
  async get(path, needs) {
    return (await this.#call("GET", path, { needs }))?.result;
  }

  /** The first item of a list that fits, page by page. */
  async find(path, needs, fits) {
    for (let page = 1; ; page += 1) {
      const separator = path.includes("?") ? "&" : "?";
      const answer = await this.#call("GET", `${path}${separator}page=${page}&per_page=${PER_PAGE}`, { needs });
      const items = answer?.result ?? [];
      const { per_page = PER_PAGE, total_count } = answer?.result_info ?? {};
      const found = items.find(fits);
      // Not every list gives as many a page as it is asked for.
      const isLast = items.length === 0 || (total_count === undefined ? items.length < per_page : page * per_page >= total_count);
      if (found || isLast) return found;
    }
  }

  async post(path, needs, body) {
    const answer = await this.#call("POST", path, { needs, body });
    if (!answer) throw new Failure(`POST ${path} was answered with 404: check CLOUDFLARE_ACCOUNT_ID.`);
    return answer.result;
  }

  async #call(method, path, { needs, body }) {
    let answer;
    try {
      answer = await fetch(this.#base + path, {
        method,
        headers: { authorization: `Bearer ${this.#token}`, ...(body ? { "content-type": "application/json" } : {}) },
        body: body && JSON.stringify(body),
        redirect: "manual",
        signal: AbortSignal.timeout(30_000),
      });
    } catch (error) {
      const why = error.cause?.message ?? error.message;
      throw new Failure(`${this.#base} cannot be reached (${why}): check the network and run npm run deploy again.`);
    }
    const envelope = await answer.json().catch(() => undefined);
    if (envelope?.success === true) return envelope;
    const why = envelope?.errors?.map(({ code, message }) => `${message} (${code})`).join(" ") || `status ${answer.status}`;
    if (answer.status === 404 && envelope) return undefined;
    if (answer.status === 401 || answer.status === 403) {
      throw new Failure(`CLOUDFLARE_API_TOKEN may not ${method} ${path.split("?")[0]}; give it ${needs}. The API said: ${why}`);
    }
    throw new Failure(`${method} ${path.split("?")[0]} failed; run npm run deploy again. The API said: ${why}`);
  }
}
