// `npm run test:upgrade`: the version before the newest migration works on the schema after it, and this version goes
// on from what it did. Needs the history of the clone.

import { fileURLToPath } from "node:url";
import { buildAll } from "./lib/build.mjs";
import { previousBuild } from "./lib/previous.mjs";
import { main } from "./lib/report.mjs";
import { enter } from "./lib/setup.mjs";

await main(async () => {
  await enter(fileURLToPath(import.meta.url));
  await buildAll();
  const previous = await previousBuild();
  const { upgrade } = await import("../tests/workerd/lib/upgrade.mjs");
  await upgrade({ previous, say: (sentence) => process.stdout.write(`${sentence}\n`) });
  process.stdout.write(`${previous.commit.slice(0, 7)}, the version before ${previous.migration}, works on the schema after it\n`);
  process.exit(0);
});
