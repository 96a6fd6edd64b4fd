// A load generator lean enough not to be what is measured: prepared bytes on kept-alive sockets.

import net from "node:net";
import { readFile } from "node:fs/promises";

/** The bytes of one request. */
export function requestBytes(base, { method = "GET", path, headers = {}, body }) {
  const { host } = new URL(base);
  const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${host}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  if (payload) lines.push("Content-Type: application/json", `Content-Length: ${payload.length}`);
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`), payload ?? Buffer.alloc(0)]);
}

/**
 * Sends requests over `connections` sockets for `durationMs`, or `count` of them, one at a time on each.
 *
 * `next()` gives the bytes of each request. Returns how many were answered, how long it took and, for
 * each, its latency. An answer that is not 2xx fails the run: a refused call is cheap to answer.
 */
export async function load(base, { connections, durationMs = Infinity, count = Infinity, next }) {
  const latencies = [];
  const started = performance.now();
  let issued = 0;
  const more = () => issued < count && performance.now() - started < durationMs;
  const one = async () => {
    const connection = await Connection.open(base);
    try {
      while (more()) {
        issued += 1;
        const from = performance.now();
        const status = await connection.exchange(next());
        latencies.push(performance.now() - from);
        if (status < 200 || status > 299) throw new Error(`${base} answered ${status}: ${connection.lastBody()}`);
      }
    } finally {
      connection.close();
    }
  };
  await Promise.all(Array.from({ length: connections }, one));
  return { answered: latencies.length, ms: performance.now() - started, latencies };
}

class Connection {
  #socket;
  #received = Buffer.alloc(0);
  #waiting;
  #last = Buffer.alloc(0);

  static open(base) {
    const { hostname, port } = new URL(base);
    return new Promise((resolve, reject) => {
      const connection = new Connection();
      const socket = net.connect(Number(port), hostname, () => resolve(connection));
      socket.setNoDelay(true);
      socket.on("error", (error) => (connection.#waiting ? connection.#waiting.reject(error) : reject(error)));
      socket.on("close", () => connection.#waiting?.reject(new Error(`${base} closed the connection`)));
      socket.on("data", (chunk) => connection.#take(chunk));
      connection.#socket = socket;
    });
  }

  exchange(bytes) {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(bytes);
    });
  }

  lastBody() {
    return this.#last.toString("utf8").slice(0, 500);
  }

  close() {
    this.#waiting = undefined;
    this.#socket.destroy();
  }

  #take(chunk) {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#received.toString("latin1", 0, end);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    const whole =
      length === undefined
        ? this.#received.subarray(-5).equals(LAST_CHUNK)
        : this.#received.length >= end + 4 + Number(length);
    if (!whole) return;
    this.#last = this.#received;
    this.#received = Buffer.alloc(0);
    const { resolve } = this.#waiting;
    this.#waiting = undefined;
    resolve(Number(head.slice(9, 12)));
  }
}

const LAST_CHUNK = Buffer.from("0\r\n\r\n");

/** CPU time a process has used, in milliseconds; undefined where there is no `/proc`. */
export async function cpuMs(pid) {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "utf8");
    // The name may hold spaces; utime and stime are the 12th and 13th field after it, in ticks of 10 ms.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return undefined;
  }
}

export function median(values) {
  return quantile(values, 0.5);
}

export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * q;
  const low = sorted[Math.floor(at)];
  return low + (sorted[Math.ceil(at)] - low) * (at - Math.floor(at));
}
