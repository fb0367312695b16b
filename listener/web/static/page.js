// Times in the viewer's zone with UTC on hover, and a fresh page every minute while somebody looks at it.
"use strict";
const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
for (const time of document.querySelectorAll("time[datetime]")) {
  time.title = time.dateTime.replace("T", " ").replace("Z", " UTC");
  time.textContent = format.format(new Date(time.dateTime));
}
setInterval(() => {
  if (document.visibilityState === "visible" && !document.querySelector("details[open]")) location.reload();
}, 60000);
