// What Rust shows JavaScript of its own memory, which is reused, and moves when it grows, as soon as anything
// else runs. Without a Worker: the functions are plain JavaScript.

import assert from "node:assert/strict";
import { test } from "node:test";
import { verifySignature } from "../../src/edge/bridge.js";

const INPUT = "header.payload";
const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

test("T2: a signature is checked as it was when it was handed over", async () => {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", publicKey);
  const jwk = JSON.stringify({ kty, crv, x, y });
  const signature = new Uint8Array(await crypto.subtle.sign(ECDSA, privateKey, new TextEncoder().encode(INPUT)));
  const forged = signature.map((byte, at) => (at === 40 ? byte ^ 1 : byte));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 4 });
  const shown = (bytes) => {
    const view = new Uint8Array(memory.buffer, 64, bytes.length);
    view.set(bytes);
    return view;
  };
  const changes = {
    "left alone": () => {},
    "reused for another token": (view) => view.set(view[40] === signature[40] ? forged : signature),
    "moved": () => memory.grow(1),
  };
  for (const [change, happens] of Object.entries(changes)) {
    for (const [bytes, expected] of [[signature, true], [forged, false]]) {
      const view = shown(bytes);
      const verdict = verifySignature(jwk, "ES256", view, INPUT);
      happens(view);
      assert.equal(await verdict, expected, `${change}, ${expected}`);
    }
  }
});
