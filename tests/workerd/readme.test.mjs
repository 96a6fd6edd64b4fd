// The job of GitLab that the README shows, run by a shell against an address that answers as Zonekeeper does.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import http from "node:http";
import { test } from "node:test";
import { at } from "../../scripts/lib/paths.mjs";

/** The lines of the job's script that get the key. */
async function script() {
  const text = await readFile(at("README.md"), "utf8");
  const [, job] = text.split("On GitLab the job asks by itself:");
  const lines = job.slice(job.indexOf("    - |\n") + 8).split("\n");
  return lines.slice(0, lines.findIndex((line) => !line.startsWith("      "))).join("\n");
}

/** Runs the script where the exchange is answered so, and what the job does next. */
async function run(shell, status, answer) {
  let sent = "";
  const server = http.createServer((request, response) => {
    request.on("data", (chunk) => (sent += chunk));
    request.on("end", () => response.writeHead(status, { "content-type": "application/json" }).end(answer));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  const text = (await script()).replaceAll("https://zonekeeper.example.com", url);
  const next = `sh -c 'echo "$CLOUDFLARE_API_TOKEN at $CLOUDFLARE_API_BASE_URL"'`;
  const child = spawn(shell[0], [...shell.slice(1), "-c", `${text}\n${next}`], {
    env: { PATH: process.env.PATH, ZONEKEEPER_ID_TOKEN: "a.b.c" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
  const code = await new Promise((resolve) => child.on("close", resolve));
  server.close();
  assert.match(sent, /subject_token=a\.b\.c/);
  return { code, output: output.trim().replace(url, "URL") };
}

for (const shell of [["sh", "-e"], ["bash", "-eo", "pipefail"]]) {
  test(`the job of the README goes on with a key, by ${shell[0]}`, async () => {
    const answer = JSON.stringify({ access_token: "KEY", token_type: "Bearer" });
    assert.deepEqual(await run(shell, 200, answer), { code: 0, output: "KEY at URL/client/v4" });
  });

  test(`the job of the README stops without one and says why, by ${shell[0]}`, async () => {
    const answer = JSON.stringify({ error: "invalid_request", error_description: "The token was used before." });
    assert.deepEqual(await run(shell, 400, answer), { code: 1, output: "Zonekeeper gave no key: The token was used before." });
    assert.deepEqual(await run(shell, 502, "<html>"), { code: 1, output: "Zonekeeper gave no key:" });
  });
}
