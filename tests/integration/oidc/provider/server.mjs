// A certified OpenID provider that gives JWT access tokens (RFC 9068) to one client, for the tests.
// Started as: node server.mjs; prints its address, and takes new keys when a line "rotate" comes.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import readline from "node:readline";

import Provider from "oidc-provider";

const AUDIENCE = "https://plugins.acme.example";

function key(kid) {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" };
}

let handler = (request, response) => response.writeHead(503).end();
const server = createServer((request, response) => handler(request, response));
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const serve = (keys) => {
    const provider = new Provider(issuer, {
      jwks: { keys },
      clients: [
        {
          client_id: "caller",
          client_secret: "a secret of the tests alone",
          grant_types: ["client_credentials"],
          redirect_uris: [],
          response_types: [],
        },
      ],
      features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        resourceIndicators: {
          enabled: true,
          defaultResource: () => AUDIENCE,
          getResourceServerInfo: () => ({
            scope: "run",
            audience: AUDIENCE,
            accessTokenFormat: "jwt",
            accessTokenTTL: 300,
            jwt: { sign: { alg: "RS256" } },
          }),
        },
      },
      extraTokenClaims: () => ({ tenant: "default", roles: ["developer"] }),
      ttl: { ClientCredentials: 300 },
    });
    handler = provider.callback();
  };
  const first = key("first");
  serve([first]);
  console.log(issuer);
  const input = readline.createInterface({ input: process.stdin });
  // What starts it may be a wrapper that does not pass a signal on; the end of the input comes through.
  input.on("close", () => process.exit(0));
  input.on("line", (line) => {
    if (line === "rotate") {
      serve([key("second"), first]);
      console.log("rotated");
    }
  });
});
