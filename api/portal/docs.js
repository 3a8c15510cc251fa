const { base, clientId } = document.getElementById("swagger-ui").dataset;

// What the document shows depends on who asks: whoever logs in gets the one of their own.
async function reload(system) {
  const headers = {};
  for (const [name, { value, token }] of Object.entries(system.authSelectors.authorized().toJS())) {
    if (name === "header") headers["X-API-Key"] = value;
    else headers.Authorization = `Bearer ${token?.access_token ?? value}`;
  }
  const answer = await fetch(`${base}/openapi.json`, { headers });
  // With a credential that is not taken, the operations still say so when they are tried.
  if (answer.ok) system.specActions.updateSpec(await answer.text());
}

const reloading = (original, system) => (...told) => {
  const done = original(...told);
  reload(system);
  return done;
};

const ui = SwaggerUIBundle({
  url: `${base}/openapi.json`,
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
  oauth2RedirectUrl: new URL(`${base}/static/oauth2-redirect.html`, location.href).href,
  plugins: [
    {
      statePlugins: {
        auth: { wrapActions: { authorize: reloading, authorizeOauth2: reloading, logout: reloading } },
      },
    },
  ],
});
ui.initOAuth({ clientId, usePkceWithAuthorizationCodeGrant: true });
