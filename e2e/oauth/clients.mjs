// What two OAuth clients, unmodified, do with the endpoints of httpadapter/oauth. The environment names the server and
// two keys. It prints what the clients returned, as JSON.
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';

const issuer = new URL(process.env.ISSUER);
const { CLIENT_ID, CLIENT_SECRET, READER_ID, READER_SECRET } = process.env;
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const accessToken = 'urn:ietf:params:oauth:token-type:access_token';
const out = {};

// failure returns what a call was refused with.
const failure = async (call) => {
  try {
    await call();
    return 'succeeded';
  } catch (e) {
    return [e.constructor.name, e.status, e.error ?? e.cause?.map?.((c) => `${c.scheme} ${c.parameters.realm}`)];
  }
};

{
  const as = await oauth.processDiscoveryResponse(issuer,
    await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }));
  const resource = await oauth.processResourceDiscoveryResponse(issuer, await oauth.resourceDiscoveryRequest(issuer));
  out.metadata = [as.issuer === resource.authorization_servers[0], as.scopes_supported, resource.scopes_supported];
  const client = { client_id: CLIENT_ID }, reader = { client_id: READER_ID };
  for (const [name, auth] of [['basic', oauth.ClientSecretBasic(CLIENT_SECRET)],
    ['post', oauth.ClientSecretPost(CLIENT_SECRET)]]) {
    const grant = async (client, auth, scope) => oauth.processClientCredentialsResponse(as, client,
      await oauth.clientCredentialsGrantRequest(as, client, auth, scope ? { scope } : {}));
    const got = await grant(client, auth, 'read write');
    out[name] = [got.token_type, got.expires_in, got.scope];
    out[`${name}All`] = (await grant(client, auth)).scope;
    out[`${name}Scope`] = await failure(() => grant(client, auth, 'admin'));

    const swap = async (auth, token, parameters) => oauth.processGenericTokenEndpointResponse(as, client,
      await oauth.genericTokenEndpointRequest(as, client, auth, exchange,
        { subject_token: token, subject_token_type: accessToken, ...parameters }));
    const narrow = await swap(auth, got.access_token, { scope: 'read', resource: issuer.href.replace(/\/$/, '') });
    out[`${name}Exchange`] = [narrow.issued_token_type, narrow.token_type, narrow.scope];
    out[`${name}Widen`] = await failure(() => swap(auth, narrow.access_token, { scope: 'write' }));
    out[`${name}NoClient`] = (await swap(oauth.None(), narrow.access_token)).scope;

    const inspect = async (token) => oauth.processIntrospectionResponse(as, reader,
      await oauth.introspectionRequest(as, reader, name === 'basic'
        ? oauth.ClientSecretBasic(READER_SECRET) : oauth.ClientSecretPost(READER_SECRET), token));
    const active = await inspect(narrow.access_token);
    out[`${name}Active`] = [active.active, active.scope, active.iss === as.issuer, typeof active.exp];
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, got.access_token));
    out[`${name}Revoked`] = [await inspect(got.access_token), await inspect(narrow.access_token)];
  }
  out.wrongBasic = await failure(async () => oauth.processClientCredentialsResponse(as, client,
    await oauth.clientCredentialsGrantRequest(as, client, oauth.ClientSecretBasic('wrong'), {})));
}

{
  const config = await openid.discovery(issuer, CLIENT_ID, CLIENT_SECRET, openid.ClientSecretBasic(CLIENT_SECRET),
    { algorithm: 'oauth2' });
  const reader = await openid.discovery(issuer, READER_ID, READER_SECRET, undefined, { algorithm: 'oauth2' });
  const got = await openid.clientCredentialsGrant(config, { scope: 'write' });
  const swapped = await openid.genericGrantRequest(config, exchange,
    { subject_token: got.access_token, subject_token_type: accessToken });
  const before = await openid.tokenIntrospection(reader, swapped.access_token);
  await openid.tokenRevocation(config, got.access_token);
  const after = await openid.tokenIntrospection(reader, swapped.access_token);
  out.openid = [got.scope, got.expiresIn() > 0, swapped.scope, before.active, before.scope, after];
  out.openidScope = await failure(() => openid.clientCredentialsGrant(config, { scope: 'all' }));
  out.openidTarget = await failure(() => openid.clientCredentialsGrant(config, { resource: 'https://other.example' }));
}

console.log(JSON.stringify(out));
