// The version before: the Worker as it was before the newest migration, built by its own scripts.

import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, rename, rm, symlink } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { withLock } from "./lock.mjs";
import { ROOT, TARGET, TOOLS, at, fileHash } from "./paths.mjs";
import { run } from "./processes.mjs";
import { Failure, step } from "./report.mjs";

/** Where it is built, so that a second build finds its crates compiled. */
const HOME = path.join(TARGET, "upgrade");

function git(args, sentence) {
  return run("git", args, { cwd: ROOT, sentence }).then((text) => text.trim());
}

/**
 * The commit before the newest migration, built: `{ commit, migration, out, wrangler }`.
 *
 * `out` is the directory of its build, `wrangler` the file of its bindings. A commit never changes, so a build of it is
 * made once.
 */
export async function previousBuild() {
  const { commit, migration } = await previousCommit();
  const home = path.join(HOME, commit);
  await withLock(path.join(HOME, "previous.lock"), async () => {
    if (!existsSync(home)) await step(`the version before ${migration} (${commit.slice(0, 7)})`, () => build(commit, home));
  });
  return { commit, migration, out: path.join(home, "build"), wrangler: path.join(home, "wrangler.toml") };
}

async function previousCommit() {
  const files = (await readdir(at("migrations"))).filter((file) => /^\d{4}_.+\.sql$/.test(file)).sort();
  const migration = files.at(-1);
  const isShallow = await git(["rev-parse", "--is-shallow-repository"], "This is no clone of a repository, so there is no version before to build.");
  if (isShallow === "true") throw new Failure("This clone is shallow, so the version before is not in it: run git fetch --unshallow.");
  const added = await git(["log", "--diff-filter=A", "--format=%H", "--", `migrations/${migration}`]);
  // Not committed yet: what is committed is the version before.
  const before = added === "" ? "HEAD" : `${added.split("\n").at(-1)}^`;
  const commit = await git(["rev-parse", "--verify", `${before}^{commit}`], `${migration} came with the first commit, so there is no version before it.`);
  return { commit, migration };
}

/** Checks the commit out beside the clone, builds it there, and keeps what a Worker is started from. */
async function build(commit, home) {
  await git(["worktree", "prune"]);
  // Not below the clone, where cargo would read the clone's own settings as well.
  const folder = await mkdtemp(path.join(os.tmpdir(), "zonekeeper-previous-"));
  const source = path.join(folder, "source");
  try {
    await git(["worktree", "add", "--detach", "--quiet", source, commit]);
    const isSame = (await fileHash(path.join(source, "package-lock.json"))) === (await fileHash(at("package-lock.json")));
    if (isSame) await symlink(at("node_modules"), path.join(source, "node_modules"));
    await run(process.execPath, [path.join(source, "scripts", "build.mjs")], {
      cwd: source,
      quiet: true,
      env: { CARGO_TARGET_DIR: HOME, ZONEKEEPER_TOOLS: TOOLS },
    });
    // Under its name only once it is whole.
    const made = `${home}.new`;
    await rm(made, { recursive: true, force: true });
    await mkdir(made, { recursive: true });
    for (const name of ["build", "wrangler.toml"]) await cp(path.join(source, name), path.join(made, name), { recursive: true });
    await rename(made, home);
  } finally {
    await rm(folder, { recursive: true, force: true });
    await git(["worktree", "prune"]);
  }
}
