const { base, clientId } = document.getElementById("swagger-ui").dataset;
const overview = `${base}/openapi.json`;
const picker = document.getElementById("documents");
let rounds = 0;

// What is shown depends on who asks: whoever logs in gets the documents of their own.
function credentials(system) {
  const headers = {};
  for (const [name, { value, token }] of Object.entries(system.authSelectors.authorized().toJS())) {
    if (name === "header") headers["X-API-Key"] = value;
    else headers.Authorization = `Bearer ${token?.access_token ?? value}`;
  }
  return headers;
}

// The overview, and a document for each product. What was chosen stays chosen as long as it is there.
function offer(documents) {
  const chosen = picker.value;
  const products = documents.map(({ product, major, title }) => {
    const url = `${base}/openapi/${encodeURIComponent(product)}/v${major}.json`;
    return new Option(`${title} v${major}`, url, false, url === chosen);
  });
  picker.replaceChildren(new Option("Overview", overview), ...products);
  picker.form.hidden = documents.length === 0;
}

async function load(system) {
  const round = ++rounds;
  const headers = credentials(system);
  const answer = await fetch(overview, { headers });
  const latest = () => round === rounds;
  // With a credential that is not taken, the operations still say so when they are tried.
  if (!answer.ok || !latest()) return;
  let text = await answer.text();
  if (!latest()) return;
  offer(JSON.parse(text)["x-documents"]);
  const url = picker.value;
  if (url !== overview) {
    const chosen = await fetch(url, { headers });
    if (!chosen.ok || !latest()) return;
    text = await chosen.text();
    if (!latest()) return;
  }
  system.specActions.updateUrl(url);
  system.specActions.updateLoadingStatus("success");
  system.specActions.updateSpec(text);
}

const reloading = (original, system) => (...told) => {
  const done = original(...told);
  load(system);
  return done;
};

const ui = SwaggerUIBundle({
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
picker.addEventListener("change", () => load(ui));
load(ui);
