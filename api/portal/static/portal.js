// Makes absolute times relative: pages are kept, ages are not. Everything can be read without it.
const units = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]];
const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

function showAges() {
  for (const element of document.querySelectorAll("time[datetime]")) {
    const seconds = (Date.parse(element.dateTime) - Date.now()) / 1000;
    const unit = units.find(([, size]) => Math.abs(seconds) >= size);
    element.title ||= element.textContent;
    element.textContent = unit ? format.format(Math.round(seconds / unit[1]), unit[0]) : "just now";
  }
}

const asSent = document.getElementById("main").textContent;
showAges();
setInterval(showAges, 60000);
document.addEventListener("replaced", showAges);

// What is still under way is looked at again, less and less often, and not for ever.
const LOOKS_MAXIMUM = 60;
const LONGEST_WAIT = 15000;
const main = document.getElementById("main");
const said = document.createElement("p"); // for those who hear that the page has changed

const write = (text) => {
  const place = main.querySelector("[data-follow] [data-scripted]");
  if (place) place.textContent = text ?? place.dataset.scripted;
};

async function look(known) {
  const reply = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" }).catch(() => null);
  if (!reply?.ok) return known; // it may be there the next time
  if (reply.redirected) return location.reload(); // such as to the page for signing in
  const found = new DOMParser().parseFromString(await reply.text(), "text/html").getElementById("main");
  if (found && found.textContent !== known) {
    known = found.textContent;
    main.replaceChildren(...found.childNodes);
    write();
    showAges();
    said.textContent = main.querySelector("h1").textContent;
  }
  return known;
}

async function follow(known) {
  write();
  said.className = "unseen";
  said.setAttribute("role", "status");
  if (main.querySelector("[data-follow]")) document.body.append(said);
  for (let looks = 0; main.querySelector("[data-follow]"); looks++) {
    if (looks === LOOKS_MAXIMUM) return write("This page follows it no more: reload it.");
    await new Promise((resolve) => setTimeout(resolve, Math.min(1000 * 1.2 ** looks, LONGEST_WAIT)));
    if (!document.hidden) known = await look(known);
  }
}

follow(asSent);
