// A client that sends what it is told: paths are not normalised, methods not checked, headers not added to.

import http from "node:http";
import net from "node:net";

const agent = new http.Agent({ keepAlive: true });

/**
 * Sends one request and reads the whole answer.
 *
 * `headers` is an object or, to send a name twice, a flat list. An object or array as `body` is sent as
 * JSON; text and bytes go as they are.
 */
export function send(base, { method, path, headers = {}, body, timeoutMs = 30_000 }) {
  const { hostname, port } = new URL(base);
  const list = Array.isArray(headers) ? [...headers] : Object.entries(headers).flat();
  const has = (name) => list.some((value, index) => index % 2 === 0 && value.toLowerCase() === name);
  let bytes;
  if (body !== undefined) {
    const raw = typeof body === "string" || body instanceof Uint8Array;
    bytes = Buffer.from(raw ? body : JSON.stringify(body));
    if (!raw && !has("content-type")) list.push("content-type", "application/json");
    if (!has("content-length") && !has("transfer-encoding")) list.push("content-length", String(bytes.length));
  }
  if (!has("host")) list.push("host", `${hostname}:${port}`);
  return new Promise((resolve, reject) => {
    const request = http.request({ hostname, port, method, path, headers: list, agent }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve(answer(response.statusCode, response.rawHeaders, Buffer.concat(chunks))));
    });
    request.setTimeout(timeoutMs, () => request.destroy(new Error(`${method} ${path}: no answer in ${timeoutMs} ms`)));
    request.on("error", reject);
    request.end(bytes);
  });
}

/**
 * Writes bytes to a fresh connection and returns the first answer on it, parsed, with all bytes received.
 *
 * Send `Connection: close`, or it takes until `timeoutMs` for the connection to be given up.
 */
export function sendRaw(base, bytes, { timeoutMs = 5_000 } = {}) {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), hostname);
    const chunks = [];
    const timer = setTimeout(() => socket.destroy(), timeoutMs);
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", (error) => (chunks.length === 0 ? reject(error) : undefined));
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(parse(Buffer.concat(chunks)));
    });
    socket.write(bytes);
  });
}

function parse(bytes) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return { status: undefined, headers: {}, rawHeaders: [], text: "", json: undefined, bytes };
  const [first, ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const rawHeaders = lines.flatMap((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
  const parsed = answer(Number(first.split(" ")[1]), rawHeaders, bytes.subarray(end + 4));
  if (/chunked/i.test(parsed.headers["transfer-encoding"] ?? "")) {
    Object.assign(parsed, content(unchunk(bytes.subarray(end + 4))));
  }
  return { ...parsed, bytes };
}

function unchunk(bytes) {
  const chunks = [];
  for (let from = 0; ; ) {
    const line = bytes.indexOf("\r\n", from);
    if (line < 0) break;
    const size = Number.parseInt(bytes.subarray(from, line).toString("latin1"), 16);
    if (!size) break;
    chunks.push(bytes.subarray(line + 2, line + 2 + size));
    from = line + 4 + size;
  }
  return Buffer.concat(chunks);
}

function answer(status, rawHeaders, body) {
  const headers = {};
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i].toLowerCase();
    headers[name] = name in headers ? `${headers[name]}, ${rawHeaders[i + 1]}` : rawHeaders[i + 1];
  }
  return { status, headers, rawHeaders, ...content(body) };
}

// `json` is undefined for what is no JSON; the parts of a v4 envelope are at hand beside it.
function content(body) {
  const text = body.toString("utf8");
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  const { success, errors, messages, result, result_info } = json ?? {};
  return { body, text, json, success, errors, messages, result, result_info, code: errors?.[0]?.code };
}
