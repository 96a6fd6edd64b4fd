// The secrets of a Zonekeeper: those that are made at random, and the one a person has to give.

import { randomBytes } from "node:crypto";
import readline from "node:readline";
import { Writable } from "node:stream";

// 30 bytes are exactly 40 characters of [A-Za-z0-9_-].
export const MAKE = {
  ROOT_KEY: () => randomBytes(30).toString("base64url"),
  KEY_PEPPER: () => randomBytes(32).toString("base64"),
  AUDIT_SIGNING_KEY: () => randomBytes(32).toString("base64"),
};

/** Asks at the terminal for one line, which is not shown. */
export function askHidden(question) {
  process.stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = readline.createInterface({ input: process.stdin, output: nowhere, terminal: true });
  return new Promise((resolve) => {
    let line = "";
    reader.once("line", (text) => {
      line = text.trim();
      reader.close();
    });
    reader.once("close", () => {
      process.stderr.write("\n");
      resolve(line);
    });
  });
}
