// The explorer without reloads: links and forms of its page are answered in place, with history, focus and an
// announcement. Every one of them is a plain link or form without this file.
const root = document.getElementById("main");
const said = document.createElement("p");
said.className = "unseen";
said.setAttribute("role", "status");
document.body.append(said);

let shown = location.pathname + location.search;
let asking = new AbortController(); // ends what was asked for a page that is left

const isOurs = (url) => url.origin === location.origin && url.pathname === location.pathname;
const byKey = (key) => [...root.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key);

function replaceMain(text) {
  const found = new DOMParser().parseFromString(text, "text/html");
  const main = found.getElementById("main");
  if (!main) return false;
  root.replaceChildren(...main.childNodes);
  document.querySelector("footer").replaceWith(found.querySelector("footer"));
  document.title = found.title;
  return true;
}

// What is wrong with the question, if anything, is scrolled into sight. Otherwise the element with this key has the focus,
// or the answer, and the page stays where it is; only the next page of an answer begins at its top.
function focusOn(key) {
  const problem = document.getElementById("problem");
  if (problem) return problem.focus();
  const found = key === "next" ? null : byKey(key);
  const target = found?.querySelector("summary") ?? found ?? document.getElementById("answer");
  target?.focus({ preventScroll: key !== "next" });
}

// Shows an address in place. `key` names the element that gets the focus; `scroll` is where a page was left.
async function show(url, { key, scroll, push } = {}) {
  const top = scrollY;
  asking.abort();
  const own = (asking = new AbortController());
  const facet = root.querySelector("details[data-facet][open]")?.dataset.key;
  document.getElementById("answer")?.setAttribute("aria-busy", "true");
  try {
    const reply = await fetch(url, { headers: { Accept: "text/html" }, signal: own.signal });
    const text = await reply.text();
    if (own.signal.aborted) return;
    if (push) {
      history.replaceState({ scroll: scrollY }, "");
      history.pushState({}, "", reply.url);
    }
    if (!replaceMain(text)) return location.reload();
    shown = location.pathname + location.search;
  } catch (error) {
    if (error.name !== "AbortError") location.assign(url);
    return;
  }
  scrollTo({ top: scroll ?? top, behavior: "instant" });
  if (scroll === undefined) focusOn(key);
  said.textContent = document.getElementById("summary")?.textContent ?? ""; // a problem is announced where it stands
  document.dispatchEvent(new Event("replaced"));
  const details = root.querySelector("details[data-facet][open]") ?? (facet && byKey(facet));
  if (details) details.open = true;
  if (details) loadCounts(details);
}

// Fills the counted values of a facet, when it is opened or when a link in it asks for them.
async function loadCounts(details, address) {
  const box = details.querySelector(".counts");
  const url = address ?? box?.dataset.counts;
  if (!url) return;
  delete box.dataset.counts;
  const own = asking;
  box.setAttribute("aria-busy", "true");
  try {
    const text = await (await fetch(url, { signal: own.signal })).text();
    if (own.signal.aborted) return;
    const hadFocus = box.contains(document.activeElement);
    box.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
    if (hadFocus) details.querySelector("summary").focus();
    said.textContent = `${details.dataset.facet}: ${box.textContent.trim().replace(/\s+/g, " ").slice(0, 200)}`;
  } catch (error) {
    if (error.name !== "AbortError") box.dataset.counts = url;
  }
  box.removeAttribute("aria-busy");
}

root.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.dataset.counts) {
    event.preventDefault();
    loadCounts(link.closest("details"), link.dataset.counts);
    return;
  }
  const url = new URL(link.getAttribute("href"), location.href);
  if (!isOurs(url) || url.hash || link.hasAttribute("download")) return;
  event.preventDefault();
  show(url, { key: link.dataset.key ?? link.closest("[data-key]")?.dataset.key, push: true });
});

root.addEventListener("submit", (event) => {
  const form = event.target;
  const url = new URL(form.action);
  if (!isOurs(url)) return;
  event.preventDefault();
  url.search = new URLSearchParams(new FormData(form));
  show(url, { key: "answer", push: true });
});

// `toggle` does not bubble. The address says which facet is open, so that a reload restores it.
root.addEventListener("toggle", (event) => {
  const details = event.target;
  if (!details.dataset?.facet || !details.isConnected) return;
  if (details.open) loadCounts(details);
  const open = root.querySelector("details[data-facet][open]")?.dataset.facet;
  // As text: a comma that is encoded separates nothing, and must stay so.
  const parts = location.search.slice(1).split("&").filter((part) => part && !/^facet(_time)?=/.test(part));
  if (open) parts.push(`facet=${encodeURIComponent(open)}`);
  history.replaceState(history.state, "", location.pathname + (parts.length ? `?${parts.join("&")}` : ""));
  shown = location.pathname + location.search;
}, true);

addEventListener("popstate", (event) => {
  if (location.pathname + location.search !== shown) show(location.href, { scroll: event.state?.scroll ?? 0 });
});
