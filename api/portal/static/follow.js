// A page about what is still under way is looked at again, less and less often and not for ever. Without this file it says
// that it has to be reloaded.
const LOOKS_MAXIMUM = 60;
const LONGEST_WAIT = 15000; // milliseconds, as are all times
const main = document.getElementById("main");
const said = document.createElement("p"); // for those who hear that the page has changed
said.className = "unseen";
said.setAttribute("role", "status");
document.body.append(said);

// What a page says, but for ages and for what this file writes.
function textOf(element) {
  const copy = element.cloneNode(true);
  for (const each of copy.querySelectorAll("time, [data-scripted]")) each.remove();
  return copy.textContent;
}

function write(text) {
  const place = main.querySelector("[data-follow] [data-scripted]");
  if (place) place.textContent = text ?? place.dataset.scripted;
}

async function look() {
  const reply = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" }).catch(() => null);
  if (!reply?.ok) return; // it may be there the next time
  if (reply.redirected) return location.reload(); // such as to the page for signing in
  const found = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("main");
  if (!found || textOf(found) === textOf(main)) return;
  main.replaceChildren(...found.childNodes);
  write();
  document.dispatchEvent(new Event("replaced"));
  said.textContent = main.querySelector("h1").textContent;
}

async function follow() {
  write();
  for (let looks = 0; main.querySelector("[data-follow]"); looks++) {
    if (looks === LOOKS_MAXIMUM) return write("This page follows it no more: reload it.");
    await new Promise((resolve) => setTimeout(resolve, Math.min(1000 * 1.2 ** looks, LONGEST_WAIT)));
    if (!document.hidden) await look();
  }
}

follow();
