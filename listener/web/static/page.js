// Times in the viewer's zone with UTC on hover, and the page's content anew when the server says that something changed.
"use strict";
const lang = document.documentElement.lang;
const habit = navigator.language.startsWith(lang) ? navigator.language : lang; // en-GB and en-US write the hour differently
const clock = { hour: "2-digit", minute: "2-digit" };
const short = new Intl.DateTimeFormat(habit, clock);
const format = new Intl.DateTimeFormat(habit, { day: "numeric", month: "short", ...clock });

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title = time.dateTime.replace("T", " ").replace("Z", " UTC");
    time.textContent = (time.className === "clock" ? short : format).format(new Date(time.dateTime));
  }
  for (const label of root.querySelectorAll("text[data-at]")) {
    label.textContent = short.format(new Date(label.dataset.at));
  }
}

async function refresh() {
  if (document.querySelector("[data-still]")) return; // a form that somebody fills in
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`answered ${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  localTimes(fresh);
  const open = new Set([...document.querySelectorAll("details[open] summary")].map((s) => s.textContent));
  const focused = document.activeElement?.closest("a[href]")?.getAttribute("href");
  for (const part of ["main", "footer"]) {
    document.querySelector(part).replaceChildren(...fresh.querySelector(part).childNodes);
  }
  document.title = fresh.title;
  for (const summary of document.querySelectorAll("summary")) {
    if (open.has(summary.textContent)) summary.parentElement.open = true;
  }
  if (focused) document.querySelector(`main a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

localTimes(document);
const connection = document.getElementById("connection");
const events = new EventSource(document.body.dataset.events);
let known = document.body.dataset.version;
events.addEventListener("changed", async (event) => {
  connection.textContent = connection.dataset.live;
  if (known === event.data) return;
  const before = known;
  known = event.data;
  await refresh().catch(() => { known = before; }); // cut off: the stream begins anew and tells it again
});
events.addEventListener("error", () => {
  connection.textContent = connection.dataset.offline;
});
