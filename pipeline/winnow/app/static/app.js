"use strict";
// Everything works without this file; it saves clicks.
const all = document.getElementById("all");
if (all) {
  const boxes = [...document.querySelectorAll('input[name="n"][type="checkbox"]')];
  all.hidden = boxes.length === 0;
  all.addEventListener("click", () => {
    const to = boxes.some((box) => !box.checked);
    for (const box of boxes) box.checked = to;
    all.textContent = to ? "Tick none" : "Tick all shown";
  });
}
// The arrow keys go through a list, row by row or page by page.
document.addEventListener("keydown", (event) => {
  const keys = { ArrowLeft: "prev", ArrowRight: "next" };
  const typing = event.target.closest("input, select, textarea, summary, [role=region]");
  if (!keys[event.key] || typing || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = document.querySelector(`a[rel="${keys[event.key]}"]`);
  if (link) link.click();
});
// On a row's page, a letter marks it: r rescues, d drops, c clears, u goes back.
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.altKey || event.ctrlKey || event.metaKey) return;
  const actions = { r: "rescue", d: "drop", c: "clear" };
  const story = document.querySelector("article.story");
  const button = story && story.querySelector(`button[name="action"][value="${actions[event.key]}"]`);
  if (button) button.click();
  else if (story && event.key === "u") document.querySelector("nav.pages a:not([rel])[href^='/?']").click();
});
// An address without what was left blank is one that people can read.
const filters = document.querySelector("form.filters");
if (filters) {
  filters.addEventListener("submit", () => {
    for (const row of filters.querySelectorAll("fieldset")) {
      row.disabled = !row.querySelector('[name="col"]').value;
    }
    for (const field of filters.elements) {
      if (field.name && !field.value && !field.closest("fieldset")) field.disabled = true;
    }
  });
  // Back in the browser's history, everything can be filled in again.
  window.addEventListener("pageshow", () => {
    for (const field of filters.elements) field.disabled = false;
  });
}
