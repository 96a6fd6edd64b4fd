// What is deployed: its size, and that nothing of the test builds is in it.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { FAULTS, RELEASE, sizes } from "../../scripts/lib/build.mjs";
import { at } from "../../scripts/lib/paths.mjs";

/** Every file of a build, as text in which each byte is one character. */
async function contents(out) {
  const found = {};
  for (const entry of await readdir(at(out), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === ".inputs") continue;
    const file = path.join(entry.parentPath, entry.name);
    found[path.relative(at(out), file)] = await readFile(file, "latin1");
  }
  return found;
}

// The name of the header is no marker: compared eight bytes at a time, it is in no build as a text.
const MARKERS = ["injected fault", "after_intent", "before_intent", "after_send", " subrequests, "];

test("the release holds no trace of the injected faults", async () => {
  for (const [file, text] of Object.entries(await contents(RELEASE.out))) {
    for (const marker of MARKERS) assert.ok(!text.toLowerCase().includes(marker), `${marker} is in ${file}`);
  }
});

test("the markers are those of the build with faults, so their absence means something", async () => {
  const text = Object.values(await contents(FAULTS.out)).join("\n").toLowerCase();
  for (const marker of MARKERS) assert.ok(text.includes(marker), marker);
});

test("the release holds nothing that only serves a local run", async () => {
  for (const [file, text] of Object.entries(await contents(RELEASE.out))) {
    for (const marker of ["LOCAL_SELF", "LOCAL_QUEUE_TRIGGER", "/cdn-cgi/handler", "SimulatorUpstreamToken"]) {
      assert.ok(!text.includes(marker), `${marker} is in ${file}`);
    }
  }
});

test("the release is below 1 MB gzipped", async (t) => {
  const { raw, gzipped } = await sizes(at(RELEASE.out));
  t.diagnostic(`${raw} bytes of wasm, ${gzipped} gzipped`);
  assert.ok(gzipped < 1_000_000, String(gzipped));
});
