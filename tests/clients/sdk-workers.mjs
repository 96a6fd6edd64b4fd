// The official TypeScript SDK against the API at CLOUDFLARE_BASE_URL: a Worker with versions,
// deployments and a secret, KV with a key that has a slash, D1, R2 and Queues.
//
//   CLOUDFLARE_BASE_URL=http://127.0.0.1:8788/client/v4 CLOUDFLARE_API_TOKEN=… \
//   CLOUDFLARE_ACCOUNT_ID=… node sdk-workers.mjs
//
// It works with the KV namespace `site-cache`, the database `site-db`, the bucket `site-assets` and
// the queue `jobs`, and with a Worker of its own, CLIENT_WORKER (sdk-proof). It removes what it made.

import assert from 'node:assert/strict';
import Cloudflare, { toFile } from 'cloudflare';
import { check, collect, finish, need, refusal } from './checks.mjs';

need('CLOUDFLARE_BASE_URL', 'CLOUDFLARE_API_TOKEN', 'CLOUDFLARE_ACCOUNT_ID');

const client = new Cloudflare({ maxRetries: 0 });
const account_id = process.env.CLOUDFLARE_ACCOUNT_ID;
const name = process.env.CLIENT_WORKER ?? 'sdk-proof';
const { scripts } = client.workers;

const code = (text) =>
  toFile(Buffer.from(`export default { fetch() { return new Response("${text}"); } };\n`), 'main.mjs', {
    type: 'application/javascript+module',
  });

// From 7.0 on the SDK says `application/javascript` of the form it sends; without that header the
// right one is made.
const asForm = { headers: { 'Content-Type': null } };

let namespace_id;
await check('the namespace is found by its title', async () => {
  const namespaces = await collect(client.kv.namespaces.list({ account_id, per_page: 5 }));
  namespace_id = namespaces.find(({ title }) => title === 'site-cache').id;
  assert.equal((await client.kv.namespaces.get(namespace_id, { account_id })).title, 'site-cache');
});

const metadata = () => ({
  main_module: 'main.mjs',
  compatibility_date: '2026-01-01',
  bindings: [
    { type: 'plain_text', name: 'GREETING', text: 'hello' },
    { type: 'kv_namespace', name: 'CACHE', namespace_id },
  ],
  observability: { enabled: true },
});

await check('a Worker is uploaded', async () => {
  const made = await scripts.update(name, { account_id, metadata: metadata(), files: [await code('one')] }, asForm);
  assert.equal(made.id, name);
  assert.deepEqual(made.handlers, ['fetch']);
});
await check('under the content type that the SDK gives it, it is refused with 10021', async () => {
  const upload = scripts.update(name, { account_id, metadata: metadata(), files: [await code('one')] });
  assert.deepEqual(await refusal(upload), [400, 10021]);
});
await check('an upload without its module is refused with 10021', async () => {
  const upload = scripts.update(name, { account_id, metadata: { main_module: 'none.mjs' }, files: [await code('one')] }, asForm);
  assert.deepEqual(await refusal(upload), [400, 10021]);
});
await check('a binding to what is not there is refused with 10041', async () => {
  const bindings = [{ type: 'kv_namespace', name: 'CACHE', namespace_id: '0'.repeat(32) }];
  const upload = scripts.update(name, { account_id, metadata: { ...metadata(), bindings }, files: [await code('one')] }, asForm);
  assert.deepEqual(await refusal(upload), [400, 10041]);
});
await check('it is listed, and its settings and code are read', async () => {
  assert.ok((await collect(scripts.list({ account_id }))).some(({ id }) => id === name));
  const { bindings, observability } = await scripts.scriptAndVersionSettings.get(name, { account_id });
  assert.deepEqual(bindings, metadata().bindings);
  assert.deepEqual(observability, { enabled: true });
  assert.match(await scripts.get(name, { account_id }), /new Response\("one"\)/);
});

let first;
await check('a version is uploaded and gets half of the traffic', async () => {
  first = (await scripts.deployments.list(name, { account_id })).result.deployments[0].versions[0].version_id;
  const version = await scripts.versions.create(name, { account_id, metadata: metadata(), files: [await code('two')] });
  assert.equal(version.number, 2);
  const versions = [
    { version_id: first, percentage: 50 },
    { version_id: version.id, percentage: 50 },
  ];
  const deployment = await scripts.deployments.create(name, { account_id, strategy: 'percentage', versions });
  assert.deepEqual(deployment.versions, versions);
  assert.deepEqual((await collect(scripts.versions.list(name, { account_id }))).map(({ number }) => number), [2, 1]);
});
await check('percentages that do not sum to 100 are refused', async () => {
  const versions = [{ version_id: first, percentage: 99 }];
  const deployment = scripts.deployments.create(name, { account_id, strategy: 'percentage', versions });
  assert.deepEqual(await refusal(deployment), [400, 10021]);
});
await check('a secret is set once the latest version is deployed', async () => {
  const secret = { account_id, name: 'TOKEN', text: 'a secret value', type: 'secret_text' };
  assert.deepEqual(await refusal(scripts.secrets.update(name, secret)), [400, 10215]);
  const [{ id }] = (await scripts.versions.list(name, { account_id })).result.items;
  await scripts.deployments.create(name, { account_id, strategy: 'percentage', versions: [{ version_id: id, percentage: 100 }] });
  assert.deepEqual(await scripts.secrets.update(name, secret), { name: 'TOKEN', type: 'secret_text' });
  assert.deepEqual(await collect(scripts.secrets.list(name, { account_id })), [{ name: 'TOKEN', type: 'secret_text' }]);
});
await check('schedules and workers.dev are set', async () => {
  const { schedules } = await scripts.schedules.update(name, { account_id, body: [{ cron: '0 3 * * *' }] });
  assert.deepEqual(schedules.map(({ cron }) => cron), ['0 3 * * *']);
  assert.equal((await scripts.subdomain.create(name, { account_id, enabled: true })).enabled, true);
});
await check('assets are uploaded with the token of their session, and go with a version', async () => {
  const hash = 'a'.repeat(32);
  const manifest = { '/hello.txt': { hash, size: 5 } };
  let { jwt, buckets } = await scripts.assets.upload.create(name, { account_id, manifest });
  // What an earlier run has uploaded is not asked for again; the token is the last one then.
  if (buckets.length > 0) {
    assert.deepEqual(buckets, [[hash]]);
    const session = new Cloudflare({ apiToken: jwt, maxRetries: 0 });
    ({ jwt } = await session.workers.assets.upload.create({ account_id, base64: true, body: { [hash]: 'aGVsbG8=' } }));
  }
  const bindings = [{ type: 'assets', name: 'ASSETS' }];
  const files = [await code('three')];
  const version = (assets) => scripts.versions.create(name, { account_id, metadata: { ...metadata(), bindings, assets }, files });
  assert.deepEqual(await refusal(version({ jwt: 'a.b.c' })), [400, 10021]);
  assert.deepEqual((await version({ jwt })).resources.bindings, bindings);
});
await check('the Worker is deleted', async () => {
  await scripts.delete(name, { account_id });
  assert.deepEqual(await refusal(scripts.settings.get(name, { account_id })), [404, 10007]);
});

const key = 'a/b key';
await check('a value is kept under a key with a slash and a space', async () => {
  await client.kv.namespaces.values.update(key, { account_id, namespace_id, value: 'a value', metadata: JSON.stringify({ by: 'sdk' }) });
  const answer = await client.kv.namespaces.values.get(key, { account_id, namespace_id });
  assert.equal(await answer.text(), 'a value');
  assert.deepEqual(await client.kv.namespaces.metadata.get(key, { account_id, namespace_id }), { by: 'sdk' });
  const keys = await collect(client.kv.namespaces.keys.list(namespace_id, { account_id, prefix: 'a/', limit: 10 }));
  assert.deepEqual(keys, [{ name: key, metadata: { by: 'sdk' } }]);
});
await check('values are written, read and deleted in bulk', async () => {
  const body = [{ key: 'sdk-1', value: 'one' }, { key: 'sdk-2', value: 'two' }];
  assert.equal((await client.kv.namespaces.bulkUpdate(namespace_id, { account_id, body })).successful_key_count, 2);
  const { values } = await client.kv.namespaces.bulkGet(namespace_id, { account_id, keys: ['sdk-1', 'sdk-3'] });
  assert.deepEqual(values, { 'sdk-1': 'one', 'sdk-3': null });
  await client.kv.namespaces.bulkDelete(namespace_id, { account_id, body: ['sdk-1', 'sdk-2'] });
});
await check('a deleted value is 404 with 10009', async () => {
  await client.kv.namespaces.values.delete(key, { account_id, namespace_id });
  assert.deepEqual(await refusal(client.kv.namespaces.values.get(key, { account_id, namespace_id })), [404, 10009]);
});

await check('databases are listed and one is asked', async () => {
  const databases = await collect(client.d1.database.list({ account_id, per_page: 10 }));
  const { uuid } = databases.find((database) => database.name === 'site-db');
  const answers = await collect(client.d1.database.query(uuid, { account_id, sql: 'SELECT ?', params: ['1'] }));
  assert.deepEqual(answers.map(({ success }) => success), [true]);
});
await check('an object is stored under a key with a slash', async () => {
  const { buckets } = await client.r2.buckets.list({ account_id });
  assert.ok(buckets.some((bucket) => bucket.name === 'site-assets'));
  const { objects } = client.r2.buckets;
  const at = { account_id, bucket_name: 'site-assets' };
  await objects.upload('sdk/a b.txt', 'content', at);
  assert.equal(await (await objects.get('sdk/a b.txt', at)).text(), 'content');
  const listed = await collect(objects.list('site-assets', { account_id, prefix: 'sdk/' }));
  assert.deepEqual(listed.map((object) => object.key), ['sdk/a b.txt']);
  await objects.delete('sdk/a b.txt', at);
});
await check('queues are listed with their consumers', async () => {
  const queues = await collect(client.queues.list({ account_id }));
  const { queue_id } = queues.find((queue) => queue.queue_name === 'jobs');
  assert.ok(Array.isArray(await collect(client.queues.consumers.list(queue_id, { account_id }))));
});

finish();
