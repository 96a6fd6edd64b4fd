// The part of a call that stays in JavaScript: streams and header lists, which cost most when they
// cross into wasm piece by piece. It decides nothing: the lists of headers, the limits and the
// targets all come from Rust.

let forwarded = new Set();
let read = new Set();
let relayed = new Set();
let ownPrefix = "";
let credential = {};

/** Takes the lists of header names, each joined by commas, and our credential's headers as JSON. */
export function configure(forwardedNames, readNames, prefix, relayedNames, credentialJson) {
  forwarded = new Set(forwardedNames.split(","));
  read = new Set(readNames.split(","));
  relayed = new Set(relayedNames.split(","));
  ownPrefix = prefix;
  credential = JSON.parse(credentialJson);
}

// What a promise settles with in place of an answer or a body.
const NETWORK = 1;
const DEADLINE = 2;
const TOO_LARGE = 3;
const BROKEN = 4;

/** One call as it came: its head as text for Rust, its body and forwarded headers kept here. */
export class Call {
  constructor(request) {
    this.request = request;
    this.headers = {};
    let head = request.method + "\n" + request.url;
    for (const [name, value] of request.headers) {
      if (forwarded.has(name)) this.headers[name] = value;
      if (read.has(name) || name.startsWith(ownPrefix)) head += "\n" + name + ":" + value;
    }
    this.head = head;
  }

  /**
   * Sends the call on. `body`, of the type `contentType`, stands in place of the caller's body, `form` are
   * bytes of the caller's own content type in place of it, `bearer` a token in place of our credential.
   * Settles with a Response or a fault.
   */
  async relay(url, method, body, contentType, form, bearer, deadlineMs) {
    const headers = { ...this.headers, ...(bearer === undefined ? credential : bearing(bearer)) };
    const init = { headers, redirect: "manual", signal: AbortSignal.timeout(deadlineMs) };
    if (method !== "GET") {
      init.method = method;
      if (form !== undefined) {
        // What Rust shows is its own memory, which moves as soon as anything else runs.
        init.body = form.length > 0 ? form.slice() : nothing();
        delete headers["content-encoding"];
      } else if (body === undefined) {
        const empty = !this.request.body || this.request.headers.get("content-length") === "0";
        init.body = empty ? nothing() : this.request.body;
      } else {
        init.body = body;
        headers["content-type"] = contentType;
        delete headers["content-encoding"];
      }
    }
    return send(url, init);
  }

  /** The caller's body, inflated, at most `cap` bytes. Settles with bytes or a fault. */
  async body(cap, deadlineMs, encoding) {
    let stream = this.request.body;
    if (!stream) return new Uint8Array(0);
    if (encoding) stream = stream.pipeThrough(new DecompressionStream(encoding));
    return drain(stream, cap, deadlineMs);
  }
}

const bearing = (token) => ({ authorization: `Bearer ${token}` });

// The runtime by itself sends a DELETE without a body again when its connection is closed under it: one
// that happened would come back as "not found". A stream it cannot send twice.
function nothing() {
  return new ReadableStream({ start: (controller) => controller.close() });
}

async function send(url, init) {
  try {
    return await fetch(url, init);
  } catch (error) {
    return error?.name === "TimeoutError" ? DEADLINE : NETWORK;
  }
}

async function drain(stream, cap, deadlineMs) {
  const reader = stream.getReader();
  let fault = BROKEN;
  const timer = setTimeout(() => {
    fault = DEADLINE;
    reader.cancel().catch(() => {});
  }, deadlineMs);
  try {
    const chunks = [];
    let size = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.byteLength;
      if (size > cap) {
        reader.cancel().catch(() => {});
        return TOO_LARGE;
      }
      chunks.push(value);
    }
    if (fault === DEADLINE) return DEADLINE;
    if (chunks.length === 1) return chunks[0];
    const bytes = new Uint8Array(size);
    let at = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.byteLength;
    }
    return bytes;
  } catch {
    return fault;
  } finally {
    clearTimeout(timer);
  }
}

/** A call of our own, its answer read: `[status, cf-ray, retry-after, bytes or null]`, or a fault. */
export async function exchange(url, method, body, cap, deadlineMs) {
  const headers = { ...credential };
  const init = { method, headers, redirect: "manual", signal: AbortSignal.timeout(deadlineMs) };
  if (body !== undefined) {
    init.body = body;
    headers["content-type"] = "application/json";
  }
  const response = await send(url, init);
  if (typeof response === "number") return response;
  const bytes = response.body ? await drain(response.body, cap, deadlineMs) : new Uint8Array(0);
  return [
    response.status,
    response.headers.get("cf-ray"),
    response.headers.get("retry-after"),
    typeof bytes === "number" ? null : bytes,
  ];
}

/** Sends a run's call on, with a body of the type or a form of it if it has one. Settles with a Response or a fault. */
export async function relayOwn(url, method, body, contentType, form, deadlineMs) {
  const headers = { accept: "application/json", ...credential };
  const init = { method, headers, redirect: "manual", signal: AbortSignal.timeout(deadlineMs) };
  if (form !== undefined) {
    // What Rust shows is its own memory, which moves as soon as anything else runs.
    init.body = form.slice();
    headers["content-type"] = contentType;
  } else if (body !== undefined) {
    init.body = body;
    headers["content-type"] = contentType;
  } else if (method !== "GET") {
    init.body = nothing();
  }
  return send(url, init);
}

// Blobs and the queue of runs. What fails settles with the error's text.

/** Stores a blob, for so many seconds where they are given. Settles with null or the error's text. */
export async function putBlob(env, key, bytes, expirationTtl) {
  return attempt(() => env.BLOBS.put(key, bytes, { expirationTtl }));
}

/** Reads a blob. Settles with its bytes, null when there is none, or the error's text. */
export async function getBlob(env, key) {
  return attempt(async () => {
    const bytes = await env.BLOBS.get(key, "arrayBuffer");
    return bytes && new Uint8Array(bytes);
  });
}

/** Deletes a blob. Settles with null or the error's text. */
export async function deleteBlob(env, key) {
  return attempt(() => env.BLOBS.delete(key));
}

/** Sends ids, joined by commas, to the queue of runs. Settles with null or the error's text. */
export async function enqueue(env, ids, delaySeconds) {
  const messages = ids.split(",").map((body) => ({ body, contentType: "text", delaySeconds }));
  return attempt(() => env.RUNS.sendBatch(messages));
}

// The object called `name` among those of the binding, near where the location hint says.
function stub(env, binding, name) {
  const locationHint = env.ZONEKEEPER_LOCATION || undefined;
  return env[binding].get(env[binding].idFromName(name), { locationHint });
}

/** Waits for the turn at a zone's records. Settles with `<fence> <ms waited>`, null when it did not come, or the error's text. */
export async function lockZone(env, zone) {
  return attempt(async () => {
    const answer = await stub(env, "ZONES", zone).fetch("https://zone/lock", { method: "POST" });
    const text = await answer.text();
    return answer.ok ? text : answer.status === 503 ? null : `${answer.status} ${text}`;
  });
}

/** Gives a turn back. Settles with null or the error's text. */
export async function unlockZone(env, zone, fence) {
  return attempt(async () => {
    const answer = await stub(env, "ZONES", zone).fetch("https://zone/unlock", { method: "POST", body: fence });
    const text = await answer.text();
    return answer.ok ? null : `${answer.status} ${text}`;
  });
}

async function attempt(work) {
  try {
    return (await work()) ?? null;
  } catch (error) {
    return String(error?.message ?? error);
  }
}

// Issuers of tokens: what they publish, what they signed, and the object that keeps their keys.

/** What is at an issuer's address, without any credential. Settles with bytes, a fault or another status than 200. */
export async function fetchPublic(url, cap, deadlineMs) {
  const headers = { accept: "application/json" };
  const signal = AbortSignal.timeout(deadlineMs);
  const response = await send(url, { headers, redirect: "manual", cache: "no-store", signal });
  if (typeof response === "number") return response;
  if (response.status !== 200) {
    response.body?.cancel().catch(() => {});
    return response.status;
  }
  return response.body ? drain(response.body, cap, deadlineMs) : new Uint8Array(0);
}

/** Asks an address of the web; `headers` is a JSON list of names and values. Settles with a Response or a fault. */
export async function probe(url, headers, body, deadlineMs) {
  const method = body === undefined ? "GET" : "POST";
  const signal = AbortSignal.timeout(deadlineMs);
  return send(url, { method, headers: JSON.parse(headers), body, redirect: "manual", cache: "no-store", signal });
}

/** Unpacks what was deflated. Settles with at most `cap` bytes or a fault. */
export async function inflate(deflated, cap, deadlineMs) {
  // What Rust shows is its own memory, which moves as soon as anything else runs.
  const stream = new Blob([deflated.slice()]).stream();
  return drain(stream.pipeThrough(new DecompressionStream("deflate-raw")), cap, deadlineMs);
}

const ALGORITHMS = {
  RS256: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" },
  ES256: { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  EdDSA: { name: "Ed25519" },
};

/** Whether a signature of `input` is by the key. Settles with true, false or the error's text. */
export async function verifySignature(jwk, algorithm, shown, input) {
  // What Rust shows is its own memory, which is reused as soon as anything else runs.
  const signature = shown.slice();
  return attempt(async () => {
    const how = ALGORITHMS[algorithm];
    const key = await crypto.subtle.importKey("jwk", JSON.parse(jwk), how, false, ["verify"]);
    return crypto.subtle.verify(how, key, signature, new TextEncoder().encode(input));
  });
}

/** Asks the object called `name` among those of the binding. Settles with its answer or null. */
export async function askObject(env, binding, name, question) {
  for (let tries = 0; tries < 2; tries += 1) {
    try {
      const response = await stub(env, binding, name).fetch("https://object/", { method: "POST", body: question });
      return await response.text();
    } catch (error) {
      // An object that is being moved is asked once more; one that has too much to do is left alone.
      if (!error?.retryable || error.overloaded) return null;
    }
  }
  return null;
}

/** The normal form of a URL; undefined where it has none. */
export function normalUrl(text) {
  return URL.parse(text)?.href;
}

/** A header of an answer, or null. */
export function header(response, name) {
  return response.headers.get(name);
}

/** The body of an answer, at most `cap` bytes. Settles with bytes or a fault. */
export async function readAnswer(response, cap, deadlineMs) {
  return response.body ? drain(response.body, cap, deadlineMs) : new Uint8Array(0);
}

const BODILESS = new Set([101, 204, 205, 304]);

/** Cloudflare's answer with the headers that are handed through; `body` replaces one we read. */
export function relayAnswer(response, body, deprecated, withoutBody) {
  const headers = {};
  for (const [name, value] of response.headers) {
    if (relayed.has(name)) headers[name] = value;
  }
  if (deprecated !== undefined) headers["zonekeeper-deprecated"] = deprecated;
  const status = response.status;
  if (withoutBody || BODILESS.has(status)) return new Response(null, { status, headers });
  return new Response(body ?? response.body, { status, headers });
}

/** An answer of our own. */
export function ownAnswer(status, body, contentType, retryAfter, withoutBody) {
  const headers = {
    "content-type": contentType,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
  };
  if (retryAfter !== undefined) headers["retry-after"] = String(retryAfter);
  return new Response(withoutBody ? null : body, { status, headers });
}

// Formatters by time zone, and the offsets they told last: jobs of one zone ask for the same instants.
// Null stands for a zone that does not exist.
const clocks = new Map();
const MAX_CLOCKS = 100;
const MAX_OFFSETS = 50;

function clockOf(zone) {
  let clock = clocks.get(zone);
  if (clock === undefined) {
    try {
      const format = new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "longOffset" });
      clock = { format, offsets: new Map() };
    } catch {
      clock = null;
    }
    if (clocks.size >= MAX_CLOCKS) clocks.delete(clocks.keys().next().value);
    clocks.set(zone, clock);
  }
  return clock;
}

/** Seconds east of UTC in a time zone, or undefined if there is no such zone or instant. */
export function utcOffsetSecs(zone, ms) {
  if (zone === "UTC") return 0;
  // Some engines take offsets such as "+01:00" for zones.
  if (!/^[A-Za-z]/.test(zone)) return undefined;
  const clock = clockOf(zone);
  if (clock === null) return undefined;
  const { format, offsets } = clock;
  if (!offsets.has(ms)) {
    if (offsets.size >= MAX_OFFSETS) offsets.clear();
    offsets.set(ms, Math.abs(ms) <= 8.64e15 ? offsetIn(format.format(ms)) : undefined);
  }
  return offsets.get(ms);
}

// Of a date that ends in "GMT+01:00", "GMT-00:44:30" or a bare "GMT".
function offsetIn(text) {
  const found = /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(text);
  if (!found) return undefined;
  const [, sign, hours = 0, minutes = 0, seconds = 0] = found;
  const offset = hours * 3600 + minutes * 60 + Number(seconds);
  return sign === "-" ? -offset : offset;
}
