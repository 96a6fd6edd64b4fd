// `npm run apply`: makes zonekeeper.toml the configuration in force.
//
// Of the Zonekeeper at ZONEKEEPER_URL, with a key of ZONEKEEPER_KEY that may change the configuration; without
// them, of the one that `npm start` runs.
//   --dry-run   only says what would change

import { fileURLToPath } from "node:url";
import { Api } from "./lib/api.mjs";
import { devVars } from "./lib/dev-vars.mjs";
import { applyDocument, differences } from "./lib/document.mjs";
import { at, readIfThere } from "./lib/paths.mjs";
import { Failure, main } from "./lib/report.mjs";
import { enter } from "./lib/setup.mjs";

async function target() {
  const { ZONEKEEPER_URL: url, ZONEKEEPER_KEY: key, ZONEKEEPER_PORT: port } = process.env;
  if (url && !key) throw new Failure("ZONEKEEPER_KEY is missing: set it to the root key, or to a key with Zonekeeper Config Write.");
  if (url) return new Api(url.replace(/\/+$/, ""), key);
  return new Api(`http://127.0.0.1:${port || 8787}`, key || (await devVars()).ROOT_KEY);
}

await main(async () => {
  await enter(fileURLToPath(import.meta.url));
  const unknown = process.argv.slice(2).find((argument) => argument !== "--dry-run");
  if (unknown) throw new Failure(`npm run apply knows --dry-run, not ${unknown}.`);
  const isDry = process.argv.includes("--dry-run");
  const text = await readIfThere(at("zonekeeper.toml"));
  if (text === undefined) throw new Failure("zonekeeper.toml is missing: write one as README.md shows.");
  const { version, changes, messages } = await applyDocument(await target(), text, { isDry });
  for (const line of [...differences(changes), ...messages]) process.stdout.write(`${line}\n`);
  const verdict = changes.length === 0 ? "is in force already" : isDry ? "would change that" : "is in force";
  process.stdout.write(`zonekeeper.toml ${verdict} (version ${version}).\n`);
});
