// An OpenID provider for the tests of internal/interop: oidc-provider with its own
// development pages. argv[2] is a JSON file of the test's; the people in it are read
// anew for every question, so that a test can take one away.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// From the directory in which the packages were installed, which is not this one.
const require = createRequire(process.cwd() + '/');
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);
const settings = () => JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { issuer, port, client, jwks, alwaysRefresh } = settings();

const provider = new Provider(issuer, {
  clients: [client],
  jwks,
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'given_name', 'family_name', 'preferred_username'] },
  async findAccount(ctx, sub) {
    const person = settings().people[sub];
    if (!person) return undefined;
    return { accountId: sub, claims: async () => ({ sub, ...person }) };
  },
  pkce: { methods: ['S256'], required: () => true },
  cookies: { keys: ['only-for-tests'] },
  // By itself it wants prompt=consent beside offline_access (Core, section 11).
  ...(alwaysRefresh && { issueRefreshToken: async (ctx, c) => c.grantTypeAllowed('refresh_token') }),
  features: { backchannelLogout: { enabled: true } },
  ttl: { AccessToken: 600, IdToken: 3600, Session: 86400, Grant: 86400, Interaction: 3600, RefreshToken: 86400 },
});

// What was asked, so that a test can see it.
provider.use(async (ctx, next) => {
  await next();
  console.log(JSON.stringify({ method: ctx.method, path: ctx.path, query: ctx.query, status: ctx.status, error: ctx.body?.error }));
});
provider.on('backchannel.success', (ctx, c, accountId) => console.log(JSON.stringify({ backchannel: 'success', accountId })));
provider.on('backchannel.error', (ctx, err) => console.log(JSON.stringify({ backchannel: String(err) })));
provider.on('server_error', (ctx, err) => console.error(err));

provider.listen(port, '127.0.0.1');
