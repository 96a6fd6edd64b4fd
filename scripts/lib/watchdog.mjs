// Kills the children of a process that ended without doing so itself.
//
// Reads `+<pid>` and `-<pid>` lines from stdin; when stdin closes, the writer is gone and every
// process still on the list is killed.

const pids = new Set();
let rest = "";

process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk) => {
  const lines = (rest + chunk).split("\n");
  rest = lines.pop();
  for (const line of lines) {
    const pid = Number(line.slice(1));
    if (line.startsWith("+")) pids.add(pid);
    else pids.delete(pid);
  }
});
process.stdin.on("close", () => {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It had ended already.
    }
  }
  process.exit(0);
});
// A Ctrl-C reaches the whole foreground group; the list must outlive it.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
