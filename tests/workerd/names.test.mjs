// International names and odd URLs, by the runtime's own parser. The same rows are put to the crate `url`, which
// stands in for it natively (`src/model/web_url.rs`), so that what is tested there holds here.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, test } from "node:test";
import { Miniflare, convertV4MiniflareOptions } from "miniflare";
import { at } from "../../scripts/lib/paths.mjs";

const ENTRY = `
import { normalUrl } from "./bridge.js";
export default {
  async fetch(request) {
    const texts = await request.json();
    return Response.json(texts.map((text) => normalUrl(text) ?? null));
  },
};`;

const worker = {
  name: "names",
  compatibilityDate: /^compatibility_date = "(.+)"$/m.exec(await readFile(at("wrangler.toml"), "utf8"))[1],
  modules: [
    { type: "ESModule", path: "index.js", contents: ENTRY },
    { type: "ESModule", path: "bridge.js", contents: await readFile(at("src", "edge", "bridge.js"), "utf8") },
  ],
};
const runtime = new Miniflare(convertV4MiniflareOptions({ workers: [worker] }));
after(() => runtime.dispose());

test("E4: names and URLs have the normal form that the core is tested with", async () => {
  const rows = JSON.parse(await readFile(at("tests", "urls.json"), "utf8"));
  const texts = rows.map(([text]) => text);
  const answer = await runtime.dispatchFetch("http://names.invalid/", { method: "POST", body: JSON.stringify(texts) });
  const found = await answer.json();
  assert.deepEqual(texts.map((text, index) => [text, found[index]]), rows);
});
