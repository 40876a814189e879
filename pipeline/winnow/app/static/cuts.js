// The slider: each move asks for what that threshold keeps, and shows the answer.
const form = document.getElementById("cut-form");
const range = document.getElementById("cut-range");
const typed = document.getElementById("cut");
const answer = document.getElementById("cut-answer");
const line = document.getElementById("cut-line");
const bars = [...form.querySelectorAll("rect")];
const low = Number(form.dataset.low), high = Number(form.dataset.high);
const rule = form.dataset.rule;
const passes = (score, cut) => rule.startsWith(">") ? score >= cut : score <= cut;

function draw(cut) {
  const x = 100 * (cut - low) / ((high - low) || 1);
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  for (const bar of bars) {
    bar.classList.toggle("goes", !passes(Number(bar.dataset.middle), cut));
  }
}

// One question at a time; while one is under way only the last move waits.
let asking = false, next = null;
async function ask(cut) {
  draw(cut);
  next = cut;
  if (asking) return;
  asking = true;
  while (next !== null) {
    const wanted = next, began = performance.now();
    next = null;
    const fields = new URLSearchParams(new FormData(form));
    fields.set("cut", wanted);
    const told = await fetch(`/cuts/answer?${fields}`);
    const page = new DOMParser().parseFromString(await told.text(), "text/html");
    answer.replaceChildren(...page.body.childNodes);
    answer.dataset.took = (performance.now() - began).toFixed(1);
    answer.dataset.cut = wanted;
  }
  asking = false;
}

range.hidden = false;
range.value = typed.value;
range.addEventListener("input", () => {
  const cut = Number(range.value);
  typed.value = String(Number(cut.toPrecision(6)));
  ask(Number(typed.value));
});
// By key a hundredth of the way, which `any` leaves to the browser.
range.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
  if (!steps[event.key]) return;
  event.preventDefault();
  range.value = Number(range.value) + steps[event.key] * (high - low) / 100;
  range.dispatchEvent(new Event("input"));
});
typed.addEventListener("change", () => {
  const cut = Number(typed.value);
  if (!Number.isFinite(cut)) return;
  range.value = cut;
  ask(cut);
});
form.querySelector("select").addEventListener("change", () => ask(Number(typed.value)));
draw(Number(typed.value));
