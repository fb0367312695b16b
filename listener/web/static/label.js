// Keys for the labelling page: digits and letters choose, Enter answers. Without this the form works by itself.
"use strict";
const form = document.getElementById("answer");
document.getElementById("keys").hidden = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=radio]), textarea")) return;
  if (event.key === "Enter" && !event.target.matches("button, a, summary")) {
    event.preventDefault();
    form.requestSubmit(form.querySelector("button[value=answer]"));
    return;
  }
  const choice = form.querySelector(`input[data-key="${CSS.escape(event.key)}"]`);
  if (choice) {
    event.preventDefault();
    choice.checked = true;
    choice.focus({ preventScroll: true });
  }
});
