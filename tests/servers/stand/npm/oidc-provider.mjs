// panva's oidc-provider with one client, PKCE and refresh tokens that are good once.
// node oidc-provider.mjs PORT CLIENT SECRET REDIRECT-URL
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const found = createRequire(`${process.env.NODE_PATH}/`).resolve('oidc-provider')
const { default: Provider } = await import(pathToFileURL(found))
const [port, client, secret, redirect] = process.argv.slice(2)

const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{
        client_id: client,
        client_secret: secret,
        redirect_uris: [redirect],
        grant_types: ['authorization_code', 'refresh_token'],
        token_endpoint_auth_method: 'client_secret_post',
    }],
    claims: { openid: ['sub'], email: ['email'] },
    conformIdTokenClaims: false,
    features: { revocation: { enabled: true } },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: id }) }),
    pkce: { required: () => true },
    rotateRefreshToken: true,
    scopes: ['openid', 'offline_access', 'email'],
    ttl: { AccessToken: 3600, RefreshToken: 86400, Interaction: 600, Session: 600, Grant: 86400 },
})
provider.listen(Number(port), '127.0.0.1')
