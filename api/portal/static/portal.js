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

showAges();
setInterval(showAges, 60000);
document.addEventListener("replaced", showAges);
addEventListener("beforeprint", () => document.querySelectorAll("time[title]").forEach((each) => (each.textContent = each.title)));
addEventListener("afterprint", showAges);
