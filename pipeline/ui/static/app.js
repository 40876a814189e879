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
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    const search = document.getElementById("q");
    if (search) { event.preventDefault(); search.focus(); }
  }
  const rel = { n: "next", p: "prev" }[event.key];
  const link = rel && document.querySelector(`a[rel="${rel}"]`);
  if (link) link.click();
});
