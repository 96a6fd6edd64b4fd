// A lock between processes of one clone: two commands started together must not write the same files.

import { mkdir, open, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readIfThere } from "./paths.mjs";
import { progress } from "./report.mjs";

/** Runs `work` while holding `file`; a lock whose holder is gone is taken over. */
export async function withLock(file, work) {
  await mkdir(path.dirname(file), { recursive: true });
  for (let waited = false; ; ) {
    try {
      const handle = await open(file, "wx");
      await handle.writeFile(String(process.pid));
      await handle.close();
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const holder = Number(await readIfThere(file));
    if (holder && !running(holder)) {
      await rm(file, { force: true });
      continue;
    }
    if (!waited) progress(`waiting for process ${holder || "?"}, which is at the same work`);
    waited = true;
    await sleep(250);
  }
  try {
    return await work();
  } finally {
    await rm(file, { force: true });
  }
}

function running(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
