// The official TypeScript SDK against the API at CLOUDFLARE_BASE_URL: verify, zones, record
// create/edit/update/get/list/delete, batch, export, import, purge, and the errors it must see.
//
//   CLOUDFLARE_BASE_URL=http://127.0.0.1:8788/client/v4 CLOUDFLARE_API_TOKEN=… node sdk-direct.mjs
//
// CLIENT_ZONE names the zone to work in (example.com). One line per check; the exit code is 1 if
// any check failed. It removes what it made, so it can run again and again.

import assert from 'node:assert/strict';
import Cloudflare, { toFile } from 'cloudflare';
import { check, collect, finish, need, refusal } from './checks.mjs';

need('CLOUDFLARE_BASE_URL', 'CLOUDFLARE_API_TOKEN');

const client = new Cloudflare({ maxRetries: 0 });
const zoneName = process.env.CLIENT_ZONE ?? 'example.com';
const prefix = 'sdk-proof';
const records = client.dns.records;

let zone_id;
await check('the token is active', async () => {
  assert.equal((await client.user.tokens.verify()).status, 'active');
});
await check('the zone is found by name', async () => {
  const zones = await collect(client.zones.list({ name: zoneName }));
  assert.deepEqual(zones.map((z) => z.name), [zoneName]);
  zone_id = zones[0].id;
});
if (!zone_id) process.exit(1);
await check('the zone is read by id', async () => {
  assert.equal((await client.zones.get({ zone_id })).name, zoneName);
});
await check('a zone that is not there gives an empty list', async () => {
  assert.deepEqual(await collect(client.zones.list({ name: `www.${zoneName}` })), []);
});

const own = async () =>
  collect(records.list({ zone_id, name: { startswith: prefix }, per_page: 2 }));
for (const left of await own()) await records.delete(left.id, { zone_id });

let made;
await check('a record is created under its full name', async () => {
  made = await records.create({ zone_id, type: 'A', name: prefix, content: '192.0.2.101', ttl: 300, comment: 'made by the SDK' });
  assert.equal(made.name, `${prefix}.${zoneName}`);
  assert.equal(made.ttl, 300);
});
await check('the same record again is refused with 81058', async () => {
  const again = records.create({ zone_id, type: 'A', name: prefix, content: '192.0.2.101', ttl: 300 });
  assert.deepEqual(await refusal(again), [400, 81058]);
});
await check('an invalid address is refused with 9005', async () => {
  const bad = records.create({ zone_id, type: 'A', name: `${prefix}-bad`, content: 'nonsense', ttl: 1 });
  assert.deepEqual(await refusal(bad), [400, 9005]);
});
await check('edit changes one field', async () => {
  const edited = await records.edit(made.id, { zone_id, type: 'A', name: prefix, content: '192.0.2.102', ttl: 300 });
  assert.equal(edited.content, '192.0.2.102');
  assert.equal(edited.comment, 'made by the SDK');
});
await check('update replaces the record', async () => {
  const updated = await records.update(made.id, { zone_id, type: 'A', name: prefix, content: '192.0.2.103', ttl: 1, proxied: true });
  assert.equal(updated.proxied, true);
  assert.equal(updated.comment ?? null, null);
});
await check('the record is read by id', async () => {
  assert.equal((await records.get(made.id, { zone_id })).content, '192.0.2.103');
});
await check('a batch deletes, patches, puts and posts', async () => {
  const doomed = await records.create({ zone_id, type: 'A', name: `${prefix}-1`, content: '192.0.2.104', ttl: 300 });
  const text = await records.create({ zone_id, type: 'TXT', name: `${prefix}-2`, content: '"one"', ttl: 300 });
  const result = await records.batch({
    zone_id,
    deletes: [{ id: doomed.id }],
    patches: [{ id: text.id, type: 'TXT', name: `${prefix}-2`, ttl: 600 }],
    puts: [{ id: made.id, type: 'A', name: prefix, content: '192.0.2.105', ttl: 300 }],
    posts: [{ type: 'CNAME', name: `${prefix}-1`, content: `target.${zoneName}.`, ttl: 1 }],
  });
  assert.equal(result.deletes[0].id, doomed.id);
  assert.equal(result.patches[0].ttl, 600);
  assert.equal(result.puts[0].content, '192.0.2.105');
  assert.equal(result.posts[0].content, `target.${zoneName}`);
});
await check('a batch with an error changes nothing', async () => {
  const before = (await own()).map((r) => r.id);
  const batch = records.batch({ zone_id, deletes: [{ id: made.id }], posts: [{ type: 'A', name: `${prefix}-3`, content: 'nonsense', ttl: 1 }] });
  assert.deepEqual(await refusal(batch), [400, 9005]);
  assert.deepEqual((await own()).map((r) => r.id), before);
});
await check('paging ends at the first empty page', async () => {
  assert.equal((await own()).length, 3);
});
await check('structured data gives its content', async () => {
  const srv = await records.create({ zone_id, type: 'SRV', name: `${prefix}-srv`, ttl: 300, data: { priority: 1, weight: 2, port: 443, target: `t.${zoneName}.` } });
  assert.equal(srv.content, `1 2 443 t.${zoneName}`);
});
await check('the export is a zone file with the records in it', async () => {
  const text = await records.export({ zone_id });
  assert.match(text, new RegExp(`^${prefix}\\.${zoneName.replace('.', '\\.')}\\.\\t300\\tIN\\tA\\t192\\.0\\.2\\.105`, 'm'));
});
await check('an import adds what is new', async () => {
  const file = await toFile(Buffer.from(`${prefix}-imported.${zoneName}. 300 IN A 192.0.2.106\n${prefix}.${zoneName}. 300 IN A 192.0.2.105\n`), 'zone.txt');
  const result = await records.import({ zone_id, file, proxied: 'false' });
  assert.deepEqual(result, { recs_added: 1, total_records_parsed: 2 });
});
await check('records are deleted', async () => {
  for (const record of await own()) {
    assert.deepEqual(await records.delete(record.id, { zone_id }), { id: record.id });
  }
  assert.deepEqual(await own(), []);
});
await check('a deleted record is 404 with 81044', async () => {
  assert.deepEqual(await refusal(records.get(made.id, { zone_id })), [404, 81044]);
});
await check('purge takes files, tags, hosts and prefixes', async () => {
  for (const form of [
    { files: [`https://${zoneName}/app.js`] },
    { tags: ['release'] },
    { hosts: [`www.${zoneName}`] },
    { prefixes: [`www.${zoneName}/assets`] },
  ]) {
    assert.ok((await client.cache.purge({ zone_id, ...form })).id);
  }
});
await check('a token that is not one is refused', async () => {
  const stranger = new Cloudflare({ apiToken: 'x'.repeat(40), maxRetries: 0 });
  const [status] = await refusal(stranger.zones.list());
  assert.ok([401, 403].includes(status), String(status));
});

finish();
