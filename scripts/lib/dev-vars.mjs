// The local secrets in `.dev.vars`, made on the first run and never printed but for the root key.

import { writeFile } from "node:fs/promises";
import { at, readIfThere } from "./paths.mjs";
import { MAKE } from "./secrets.mjs";

const FILE = at(".dev.vars");

/** Reads `.dev.vars` and adds what it lacks; the upstream token in it is replaced by each start's own. */
export async function devVars() {
  const text = (await readIfThere(FILE)) ?? "# Local secrets, made by npm start; never committed.\n";
  const values = parse(text);
  let added = "";
  for (const [name, make] of Object.entries(MAKE)) {
    if (values[name]) continue;
    values[name] = make();
    added += `${name}="${values[name]}"\n`;
  }
  if (added) await writeFile(FILE, text.replace(/\n?$/, "\n") + added, { mode: 0o600 });
  return values;
}

/** Adds the simulator's token, for tools that read `.dev.vars` themselves. */
export async function rememberToken(token) {
  const text = (await readIfThere(FILE)) ?? "";
  if (parse(text).CLOUDFLARE_API_TOKEN) return;
  await writeFile(FILE, `${text}CLOUDFLARE_API_TOKEN="${token}"\n`, { mode: 0o600 });
}

function parse(text) {
  const values = {};
  for (const line of text.split("\n")) {
    const match = /^\s*([A-Z_][A-Z0-9_]*)\s*=\s*(.*?)\s*$/.exec(line);
    if (match) values[match[1]] = match[2].replace(/^(["'])(.*)\1$/, "$2");
  }
  return values;
}
