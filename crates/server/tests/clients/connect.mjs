// Calls every unary RPC over the HTTP door with the client of the Connect project, by JSON and by protobuf, HTTP/1.1 and
// HTTP/2.
//
// Usage: connect.mjs API_URL ROOT_TOKEN_FILE DESCRIPTOR_SET_FILE
//
// The client is made from the descriptor set when it starts. An RPC of the set that is not in the table fails the test: add
// a row. The program ends with 1 at the first response that is wrong.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';

const [baseUrl, rootTokenFile, descriptorSetFile] = process.argv.slice(2);
const root = readFileSync(rootTokenFile, 'utf8').trim();
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptorSetFile)));
const service = registry.getService('keyauthority.v1.KeyAuthority');
const value = (type, name) => registry.getEnum(`keyauthority.v1.${type}`).values.find((each) => each.name === name).number;
const verdict = (name) => value('Verdict', `VERDICT_${name}`);
const keyState = (name) => value('KeyState', `KEY_STATE_${name}`);
const accountState = (name) => value('AccountState', `ACCOUNT_STATE_${name}`);

// A row: the method, its request, and what is to be checked of its response. Both get `t`: the account, the ID of its key
// and that key's newest token, which the rows before have left there. Rows run from top to bottom.
const table = [
  ['createAccount', (t) => ({ account: { id: t.account, policy: { recoverable: true, holderMayRenew: true } } }), (response, t) => {
    assert.equal(response.account.id, t.account);
  }],
  ['getAccount', (t) => ({ account: t.account }), (response) => assert.equal(response.policy.recoverable, true)],
  ['listAccounts', () => ({ pageSize: 1000 }), (response, t) => {
    assert(response.accounts.some((account) => account.id === t.account));
  }],
  ['updateAccount', (t) => ({ account: { id: t.account, displayName: 'é' }, updateMask: { paths: ['display_name'] } }), (response) => {
    assert.equal(response.account.displayName, 'é');
  }],
  ['createKey', (t) => ({ account: t.account, scopes: ['read'], labels: { team: 'blue' }, expiry: { case: 'lifetime', value: { seconds: 3600n } } }), (response, t) => {
    t.keyId = response.key.id;
    t.token = response.token;
    assert(response.key.expireTime.seconds > 0n && response.propagation.revision > 0n);
  }],
  ['getKey', (t) => ({ keyId: t.keyId }), (response) => assert.deepEqual(response.labels, { team: 'blue' })],
  ['listKeys', (t) => ({ account: t.account }), (response, t) => assert.equal(response.keys[0].id, t.keyId)],
  ['verify', (t) => ({ token: t.token, scopes: ['read', 'write'] }), (response) => {
    assert.equal(response.verdict, verdict('SCOPE_DENIED'));
    assert.deepEqual(response.missingScopes, ['write']);
  }],
  ['batchVerify', (t) => ({ requests: [{ token: t.token }, { token: 'nothing' }] }), (response) => {
    assert.deepEqual(response.responses.map((each) => each.verdict), [verdict('VALID'), verdict('MALFORMED')]);
  }],
  ['updateKey', (t) => ({ key: { id: t.keyId, displayName: 'ci' }, updateMask: { paths: ['display_name'] } }), (response) => {
    assert.equal(response.key.displayName, 'ci');
  }],
  ['disableKey', (t) => ({ keyId: t.keyId }), (response) => assert.equal(response.key.state, keyState('DISABLED'))],
  ['enableKey', (t) => ({ keyId: t.keyId }), (response) => assert.equal(response.key.state, keyState('ACTIVE'))],
  ['revealToken', (t) => ({ keyId: t.keyId }), (response, t) => assert.equal(response.token, t.token)],
  ['prepareConnection', (t) => ({ account: t.account, serverName: 'acme', url: 'https://mcp.example.com/mcp' }), (response) => {
    assert(response.instructions.length > 3);
  }],
  ['createPortalSession', (t) => ({ account: t.account, subject: 'ada', may: [value('PortalAction', 'PORTAL_ACTION_RENEW')] }), (response) => {
    assert(response.url.includes('/console/enter?code='), response.url);
  }],
  ['renewKey', (t) => ({ keyId: t.keyId }), (response, t) => {
    assert.notEqual(response.token, t.token);
    t.token = response.token;
  }],
  ['renewToken', (t) => ({ token: t.token }), (response, t) => {
    assert.notEqual(response.token, t.token);
    t.token = response.token;
  }],
  ['revokeToken', (t) => ({ token: t.token, reason: 'found' }), (response, t) => assert.equal(response.keyId, t.keyId)],
  ['revokeKeys', (t) => ({ account: t.account }), (response) => {
    assert.equal(response.count, 0);
    assert(response.propagation.revision > 0n);
  }],
  ['revokeKey', (t) => ({ keyId: t.keyId, reason: 'left' }), (response) => assert.equal(response.key.state, keyState('REVOKED'))],
  ['deleteKey', (t) => ({ keyId: t.keyId })],
  ['suspendAccount', (t) => ({ account: t.account }), (response) => assert.equal(response.account.state, accountState('SUSPENDED'))],
  ['resumeAccount', (t) => ({ account: t.account }), (response) => assert.equal(response.account.state, accountState('ACTIVE'))],
  ['deleteAccount', (t) => ({ account: t.account })],
  ['listAuditEvents', (t) => ({ account: t.account }), (response) => assert(response.events.length > 10)],
  ['awaitRevision', () => ({ revision: 1n })],
  ['acceptRestore', () => ({})],
  ['getAuthorityStatus', () => ({}), (response) => assert.equal(response.replicas.length, 1)],
];

const methods = service.methods.filter((method) => method.methodKind === 'unary').map((method) => method.localName);
const rows = table.map(([method]) => method);
assert.deepEqual([...methods].sort(), [...rows].sort(), 'left: the unary RPCs of the descriptor set, right: the table');

/** The error of a call that must fail. */
async function failure(call) {
  const error = await call.then(() => assert.fail('the call succeeded'), (error) => error);
  assert(error instanceof ConnectError, String(error));
  return error;
}

/** Goes through the table, and through what every client meets besides: errors, deadlines, RPCs with streams. */
async function walk(name, options) {
  const transport = (token) => createConnectTransport({
    baseUrl,
    ...options,
    interceptors: [(next) => (request) => {
      request.header.set('Authorization', `Bearer ${token}`);
      return next(request);
    }],
  });
  const client = createClient(service, transport(root));
  const target = { account: `of-${name}` };
  for (const [method, request, check] of table) {
    try {
      const response = await client[method](request(target), { timeoutMs: 30_000 });
      check?.(response, target);
    } catch (error) {
      throw new Error(`${name}: ${method}: ${error}`, { cause: error });
    }
  }

  const missing = await failure(client.getKey({ keyId: 'nothing' }));
  assert.equal(missing.code, Code.NotFound);
  const [info] = missing.details;
  assert.deepEqual([info.type, info.debug.reason, info.debug.domain], ['google.rpc.ErrorInfo', 'KEY_NOT_FOUND', 'keyauthority']);
  const unknown = await failure(createClient(service, transport('unknown')).getKey({ keyId: 'nothing' }));
  assert.equal(unknown.code, Code.Unauthenticated);
  const streamed = await failure((async () => {
    for await (const _ of client.verifyStream((async function* () { yield { id: 1n }; })()));
  })());
  assert([Code.Unimplemented, Code.Unknown, Code.Internal].includes(streamed.code), `${name}: ${streamed}`);
  console.log(`${name}: ${table.length} RPCs`);
}

await walk('json-1', { httpVersion: '1.1', useBinaryFormat: false });
await walk('proto-1', { httpVersion: '1.1', useBinaryFormat: true });
await walk('json-2', { httpVersion: '2', useBinaryFormat: false });
await walk('proto-2', { httpVersion: '2', useBinaryFormat: true });
console.log('done');
