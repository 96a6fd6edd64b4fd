// What the scripts that drive an SDK share: one line per check, and the errors they must see.

import assert from 'node:assert/strict';
import Cloudflare from 'cloudflare';

let failures = 0;

/** Ends the process when a variable that the script needs is not set. */
export function need(...names) {
  for (const name of names) {
    if (!process.env[name]) {
      console.error(`${name} is not set`);
      process.exit(2);
    }
  }
}

/** Runs one check and says how it went; the next one runs in any case. */
export async function check(what, run) {
  try {
    await run();
    console.log(`ok    ${what}`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL  ${what}: ${error.message}`);
  }
}

/** Every item of every page. */
export async function collect(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}

/** The status and first error code of a call that must be refused. */
export async function refusal(call) {
  const error = await call.then(
    () => assert.fail('the call went through'),
    (e) => e,
  );
  assert.ok(error instanceof Cloudflare.APIError, String(error));
  return [error.status, error.errors?.[0]?.code];
}

/** The last line and the exit code. */
export function finish() {
  console.log(failures === 0 ? 'all checks passed' : `${failures} check(s) failed`);
  process.exit(failures === 0 ? 0 : 1);
}
