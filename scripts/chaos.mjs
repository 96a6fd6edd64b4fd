// `npm run chaos`: jobs while workerd is killed with -9, 30 times unless `--kills N` says otherwise. `--seed N`
// repeats the moments and the work of an earlier run.

import { randomInt } from "node:crypto";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildAll } from "./lib/build.mjs";
import { Failure, main, progress } from "./lib/report.mjs";
import { enter } from "./lib/setup.mjs";

function number(name, text, fallback) {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Failure(`--${name} takes a whole number from 1 on.`);
  return value;
}

await main(async () => {
  await enter(fileURLToPath(import.meta.url));
  const { values } = parseArgs({ options: { seed: { type: "string" }, kills: { type: "string" } } });
  const seed = number("seed", values.seed, randomInt(1, 2 ** 31));
  const kills = number("kills", values.kills, 30);
  await buildAll();
  process.stdout.write(`Seed ${seed}; npm run chaos -- --seed ${seed} repeats it.\n`);
  const { chaos } = await import("../tests/workerd/lib/chaos.mjs");
  const { rows, violations } = await chaos({ seed, kills, say: progress });
  process.stdout.write("\n");
  for (const [name, value] of rows) process.stdout.write(`${name.padEnd(26)} ${value}\n`);
  for (const violation of violations) process.stdout.write(`VIOLATION  ${violation}\n`);
  process.stdout.write(violations.length === 0 ? "nothing lost, nothing doubled\n" : `${violations.length} violations\n`);
  process.exit(violations.length === 0 ? 0 : 1);
});
