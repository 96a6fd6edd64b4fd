// What the commands say: progress on stderr, results on stdout, and every failure in one sentence.

const started = Date.now();

/** A failure whose message is a whole sentence for the person at the terminal; shown without a stack. */
export class Failure extends Error {}

export function progress(message) {
  process.stderr.write(`[${clock()}] ${message}\n`);
}

/** Runs one named step and says how long it took, if that was long enough to notice. */
export async function step(name, work) {
  progress(`${name} …`);
  const from = Date.now();
  const result = await work();
  const took = Date.now() - from;
  if (took > 1_000) progress(`${name}: done in ${seconds(took)}`);
  return result;
}

export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** Runs a command's main function; a `Failure` becomes its sentence, anything else keeps its stack. */
export async function main(work) {
  try {
    await work();
  } catch (error) {
    process.stderr.write(`${error instanceof Failure ? error.message : error.stack}\n`);
    process.exit(1);
  }
}

function clock() {
  const total = Math.floor((Date.now() - started) / 1000);
  return `${String(Math.floor(total / 60)).padStart(2, "0")}:${String(total % 60).padStart(2, "0")}`;
}
