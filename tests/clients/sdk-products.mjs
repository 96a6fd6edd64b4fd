// The official TypeScript SDK against the API at CLOUDFLARE_BASE_URL: rulesets, settings, page
// rules, lists, tokens, members, Access, certificates, load balancing, snippets, Logpush.
//
//   CLOUDFLARE_BASE_URL=http://127.0.0.1:8788/client/v4 CLOUDFLARE_API_TOKEN=… node sdk-products.mjs
//
// CLIENT_ZONE names the zone to work in (example.com). One line per check; the exit code is 1 if
// any check failed. It removes what it made, so it can run again and again.

import assert from 'node:assert/strict';
import Cloudflare from 'cloudflare';

for (const name of ['CLOUDFLARE_BASE_URL', 'CLOUDFLARE_API_TOKEN']) {
  if (!process.env[name]) {
    console.error(`${name} is not set`);
    process.exit(2);
  }
}

const client = new Cloudflare({ maxRetries: 0 });
const zoneName = process.env.CLIENT_ZONE ?? 'example.com';
let failures = 0;

async function check(what, run) {
  try {
    await run();
    console.log(`ok    ${what}`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL  ${what}: ${error.message}`);
  }
}

async function collect(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}

const [zone] = await collect(client.zones.list({ name: zoneName }));
const zone_id = zone.id;
const account_id = zone.account.id;
const everyone = [{ everyone: {} }];

await check('rulesets are made, their rules placed, edited and removed', async () => {
  const phase = 'http_request_firewall_custom';
  const ruleset = await client.rulesets.create({ account_id, kind: 'custom', name: 'sdk', phase, rules: [] });
  const rule = { account_id, action: 'block', expression: 'true' };
  await client.rulesets.rules.create(ruleset.id, rule);
  const two = await client.rulesets.rules.create(ruleset.id, { ...rule, action: 'log', position: { index: 1 } });
  assert.deepEqual(two.rules.map(({ action }) => action), ['log', 'block']);
  const ruleset_id = ruleset.id;
  const edited = await client.rulesets.rules.edit(two.rules[0].id, { ...rule, ruleset_id });
  assert.equal(edited.rules[0].action, 'block');
  await client.rulesets.rules.delete(two.rules[0].id, { account_id, ruleset_id });
  assert.ok((await collect(client.rulesets.versions.list(ruleset_id, { account_id }))).length >= 4);
  assert.ok((await collect(client.rulesets.list({ account_id }))).some(({ id }) => id === ruleset_id));
  await client.rulesets.delete(ruleset_id, { account_id });
});
await check('an entrypoint is put and read', async () => {
  const rules = [{ action: 'route', expression: 'true', action_parameters: { host_header: `a.${zoneName}` } }];
  const put = await client.rulesets.phases.update('http_request_origin', { zone_id, rules });
  const got = await client.rulesets.phases.get('http_request_origin', { zone_id });
  assert.deepEqual(got.rules, put.rules);
  await client.rulesets.delete(put.id, { zone_id });
});
await check('a setting is edited and read', async () => {
  const before = await client.zones.settings.get('min_tls_version', { zone_id });
  const { value } = await client.zones.settings.edit('min_tls_version', { zone_id, value: '1.3' });
  assert.equal(value, '1.3');
  await client.zones.settings.edit('min_tls_version', { zone_id, value: before.value });
});
await check('page rules are made, listed and removed', async () => {
  const targets = [{ target: 'url', constraint: { operator: 'matches', value: `*${zoneName}/sdk` } }];
  const actions = [{ id: 'cache_level', value: 'bypass' }];
  const made = await client.pageRules.create({ zone_id, targets, actions, status: 'active' });
  assert.ok((await client.pageRules.list({ zone_id })).some(({ id }) => id === made.id));
  await client.pageRules.delete(made.id, { zone_id });
});
await check('items of a list are written by operations and read by cursor', async () => {
  const list = await client.rules.lists.create({ account_id, name: 'sdk', kind: 'ip' });
  const items = client.rules.lists.items;
  const finish = async ({ operation_id }) => {
    for (let looks = 0; looks < 10; looks += 1) {
      const { status } = await client.rules.lists.bulkOperations.get(operation_id, { account_id });
      if (status === 'completed') return;
      assert.ok(['pending', 'running'].includes(status), status);
    }
    assert.fail('the operation does not end');
  };
  const body = [{ ip: '192.0.2.1' }, { ip: '192.0.2.2' }];
  await finish(await items.create(list.id, { account_id, body }));
  const read = await collect(items.list(list.id, { account_id, per_page: 1 }));
  assert.deepEqual(read.map(({ ip }) => ip), ['192.0.2.1', '192.0.2.2']);
  await finish(await items.delete(list.id, { account_id, items: read.map(({ id }) => ({ id })) }));
  assert.equal((await client.rules.lists.get(list.id, { account_id })).num_items, 0);
  await client.rules.lists.delete(list.id, { account_id });
});
await check('a token is made of a permission group, rolled and removed', async () => {
  const [group] = await collect(client.user.tokens.permissionGroups.list({ name: 'Cache Purge' }));
  const resources = { [`com.cloudflare.api.account.zone.${zone_id}`]: '*' };
  const policies = [{ effect: 'allow', permission_groups: [{ id: group.id }], resources }];
  const token = await client.user.tokens.create({ name: 'sdk', policies });
  const own = new Cloudflare({ apiToken: token.value, maxRetries: 0 });
  assert.equal((await own.user.tokens.verify()).id, token.id);
  const value = await client.user.tokens.value.update(token.id, { body: {} });
  await assert.rejects(own.user.tokens.verify());
  assert.equal((await new Cloudflare({ apiToken: value, maxRetries: 0 }).user.tokens.verify()).status, 'active');
  await client.user.tokens.delete(token.id);
  assert.ok(!(await collect(client.user.tokens.list())).some(({ id }) => id === token.id));
  await collect(client.accounts.tokens.list({ account_id }));
});
await check('members are listed', async () => {
  assert.ok((await collect(client.accounts.members.list({ account_id }))).length > 0);
});
await check('Access has applications, policies, groups and service tokens', async () => {
  const { applications, groups, policies, serviceTokens } = client.zeroTrust.access;
  const policy = await policies.create({ account_id, name: 'sdk', decision: 'allow', include: everyone });
  const application = { account_id, name: 'sdk', type: 'self_hosted', domain: `sdk.${zoneName}` };
  const app = await applications.create({ ...application, policies: [{ id: policy.id }] });
  assert.match(app.aud, /^[0-9a-f]{64}$/);
  await applications.policies.create(app.id, { account_id, name: 'own', decision: 'deny', include: everyone });
  assert.ok((await collect(applications.list({ account_id }))).some(({ id }) => id === app.id));
  await applications.delete(app.id, { account_id });
  await policies.delete(policy.id, { account_id });
  const group = await groups.create({ account_id, name: 'sdk', include: everyone });
  await groups.delete(group.id, { account_id });
  const token = await serviceTokens.create({ account_id, name: 'sdk' });
  const rotated = await serviceTokens.rotate(token.id, { account_id });
  assert.notEqual(rotated.client_secret, token.client_secret);
  await serviceTokens.refresh(token.id, { account_id });
  await serviceTokens.delete(token.id, { account_id });
});
await check('certificates are listed and Universal SSL is read', async () => {
  await collect(client.customCertificates.list({ zone_id }));
  assert.equal((await client.ssl.universal.settings.get({ zone_id })).enabled, true);
  assert.ok((await collect(client.ssl.certificatePacks.list({ zone_id }))).length > 0);
});
await check('load balancers, pools and monitors', async () => {
  const monitor = await client.loadBalancers.monitors.create({ account_id, type: 'http', expected_codes: '2xx' });
  const origins = [{ name: 'a', address: '192.0.2.1' }];
  const pool = await client.loadBalancers.pools.create({ account_id, name: 'sdk', origins, monitor: monitor.id });
  const { pop_health } = await client.loadBalancers.pools.health.get(pool.id, { account_id });
  assert.ok(pop_health);
  const name = `sdk-lb.${zoneName}`;
  const balancer = await client.loadBalancers.create({ zone_id, name, default_pools: [pool.id], fallback_pool: pool.id });
  assert.ok((await collect(client.loadBalancers.list({ zone_id }))).some(({ id }) => id === balancer.id));
  await client.loadBalancers.delete(balancer.id, { zone_id });
  await client.loadBalancers.pools.delete(pool.id, { account_id });
  await client.loadBalancers.monitors.delete(monitor.id, { account_id });
});
await check('a snippet is uploaded, run by a rule and removed', async () => {
  const files = [new File(['export default {}'], 'main.js')];
  await client.snippets.update('sdk', { zone_id, files, metadata: { main_module: 'main.js' } });
  await collect(client.snippets.rules.update({ zone_id, rules: [{ snippet_name: 'sdk', expression: 'true' }] }));
  await collect(client.snippets.rules.update({ zone_id, rules: [] }));
  assert.ok((await collect(client.snippets.list({ zone_id }))).some(({ snippet_name }) => snippet_name === 'sdk'));
  await client.snippets.delete('sdk', { zone_id });
});
await check('a Logpush job is made and removed', async () => {
  const job = await client.logpush.jobs.create({ zone_id, dataset: 'http_requests', destination_conf: 'r2://logs' });
  assert.ok((await collect(client.logpush.jobs.list({ zone_id }))).some(({ id }) => id === job.id));
  await client.logpush.jobs.delete(job.id, { zone_id });
});

console.log(failures === 0 ? 'all checks passed' : `${failures} check(s) failed`);
process.exit(failures === 0 ? 0 : 1);
