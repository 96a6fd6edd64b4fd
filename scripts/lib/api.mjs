// A caller of `/api/v1`, for the scripts.

import { Failure } from "./report.mjs";

export class Api {
  #url;
  #key;

  constructor(url, key) {
    this.#url = url;
    this.#key = key;
  }

  get(path) {
    return this.#call("GET", path);
  }

  delete(path) {
    return this.#call("DELETE", path);
  }

  /** `body` is `{json}` or `{text, type}`. */
  post(path, body) {
    return this.#call("POST", path, body);
  }

  put(path, body) {
    return this.#call("PUT", path, body);
  }

  /** The envelope, whatever the status; an answer that is none is a failure that shows it. */
  async #call(method, path, body) {
    const headers = { authorization: `Bearer ${this.#key}` };
    if (body) headers["content-type"] = body.json === undefined ? body.type : "application/json";
    let answer;
    try {
      answer = await fetch(this.#url + path, {
        method,
        headers,
        body: body && (body.json === undefined ? body.text : JSON.stringify(body.json)),
      });
    } catch (error) {
      throw new Failure(`Zonekeeper at ${this.#url} cannot be reached: ${error.cause?.message ?? error.message}.`);
    }
    const text = await answer.text();
    try {
      return JSON.parse(text);
    } catch {
      throw new Failure(`${method} ${path} answered ${answer.status} with something that is not JSON: ${text.slice(0, 200)}`);
    }
  }
}
