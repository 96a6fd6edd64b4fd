// Builds the release Worker into `build/`; wrangler runs it before a deploy.

import { fileURLToPath } from "node:url";
import { RELEASE, buildAll } from "./lib/build.mjs";
import { main } from "./lib/report.mjs";
import { enter } from "./lib/setup.mjs";

await main(async () => {
  await enter(fileURLToPath(import.meta.url));
  await buildAll({ variants: [RELEASE], simulator: false });
});
