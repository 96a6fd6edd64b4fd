// Where things are in a clone.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

export function at(...parts) {
  return path.join(ROOT, ...parts);
}

/** Where installed tools live; several clones may share one such directory. */
export const TOOLS = path.resolve(process.env.ZONEKEEPER_TOOLS ?? at(".tools"));

/** Cargo's target directory, which a developer may have moved. */
export const TARGET = path.resolve(ROOT, process.env.CARGO_TARGET_DIR ?? "target");

export async function fileHash(file) {
  return createHash("sha256").update(await readFile(file)).digest("hex");
}

export async function readIfThere(file) {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}
