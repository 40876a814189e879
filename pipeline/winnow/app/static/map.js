// The map: every row a dot, drawn into pixels here; near rows lie near each other.
// Without this file the page shows the same map as a picture.
const stage = document.getElementById("map-stage");
const canvas = document.getElementById("map");
const status = document.getElementById("map-status");
const pictures = document.getElementById("map-pictures");
const tip = document.getElementById("map-tip");
const form = document.getElementById("map-choice");
const NOT_ASKED = 255;
const CELL = 92;

const fetched = async (address) => {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.arrayBuffer();
};

// From the legend: the colour of each code, as the canvas' bytes.
const palette = new Uint32Array(256);
for (const swatch of document.querySelectorAll("#legend rect")) {
  const value = parseInt(swatch.getAttribute("fill").slice(1), 16);
  palette[Number(swatch.dataset.code)] =
    (255 << 24) | ((value & 255) << 16) | (value & 0xff00) | (value >> 16);
}
palette[NOT_ASKED] = (70 << 24) | (128 << 16) | (128 << 8) | 128;

const [places, codeBytes] = await Promise.all([
  fetched(stage.dataset.points), fetched(stage.dataset.codes)]);
const points = new Float32Array(places);
const codes = new Uint8Array(codeBytes);
const count = codes.length;
const context = canvas.getContext("2d");
let width = 0, height = 0, image = null, buffer = null, ratio = 1;
const view = { x: 0, y: 0, scale: 1 };
let visible = 0, lasso = null, choosing = false;
let dark = matchMedia("(prefers-color-scheme: dark)");

function bounds() {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < count; i++) {
    const x = points[2 * i], y = points[2 * i + 1];
    if (x < x0) x0 = x;
    if (x > x1) x1 = x;
    if (y < y0) y0 = y;
    if (y > y1) y1 = y;
  }
  return x0 <= x1 ? [x0, x1, y0, y1] : [0, 1, 0, 1];
}
const whole = bounds();

function fit() {
  const [x0, x1, y0, y1] = whole;
  const room = 24 * ratio;
  view.scale = Math.min((width - room) / Math.max(x1 - x0, 1e-9),
    (height - room) / Math.max(y1 - y0, 1e-9));
  view.x = (x0 + x1) / 2;
  view.y = (y0 + y1) / 2;
}

function resize() {
  const first = width === 0;
  ratio = Math.min(window.devicePixelRatio || 1, 2);
  const box = canvas.getBoundingClientRect();
  const before = width;
  width = canvas.width = Math.max(1, Math.round(box.width * ratio));
  height = canvas.height = Math.max(1, Math.round(box.height * ratio));
  image = context.createImageData(width, height);
  buffer = new Uint32Array(image.data.buffer);
  if (first) fit();
  else view.scale *= width / before;
  draw();
}

// Pixels on a side of a dot: more of them where fewer rows are in view.
const dot = () => Math.round(ratio *
  (visible > 150000 ? 1 : visible > 15000 ? 2 : visible > 4000 ? 3 : visible > 800 ? 4 : 6)) || 1;

function plot(faint, side) {
  const k = view.scale, bx = width / 2 - view.x * k, by = height / 2 + view.y * k;
  const half = side >> 1, right = width - side, below = height - side;
  let inside = 0;
  for (let i = 0; i < count; i++) {
    const code = codes[i];
    if ((code === NOT_ASKED) !== faint) continue;
    const px = (points[2 * i] * k + bx - half) | 0;
    const py = (by - points[2 * i + 1] * k - half) | 0;
    // A row without a place is NaN, which compares with nothing.
    if (!(points[2 * i] === points[2 * i])) continue;
    if (px < 0 || py < 0 || px >= right || py >= below) continue;
    inside++;
    const colour = palette[code];
    for (let dy = 0; dy < side; dy++) {
      const start = (py + dy) * width + px;
      for (let dx = 0; dx < side; dx++) buffer[start + dx] = colour;
    }
  }
  return inside;
}

let waiting = 0;
function draw() {
  if (waiting) return;
  waiting = requestAnimationFrame(() => {
    const began = performance.now();
    waiting = 0;
    buffer.fill(0);
    plot(true, 1);
    const before = dot();
    visible = plot(false, before);
    if (dot() !== before) {
      buffer.fill(0);
      plot(true, 1);
      visible = plot(false, dot());
    }
    context.putImageData(image, 0, 0);
    if (lasso) outline();
    stage.dataset.drawn = (performance.now() - began).toFixed(1);
    stage.dataset.frames = String(Number(stage.dataset.frames || 0) + 1);
    settle();
  });
}

const toMap = (px, py) => [
  view.x + (px * ratio - width / 2) / view.scale,
  view.y - (py * ratio - height / 2) / view.scale];
const toPixel = (i) => [
  ((points[2 * i] - view.x) * view.scale + width / 2) / ratio,
  ((view.y - points[2 * i + 1]) * view.scale + height / 2) / ratio];

function zoom(factor, px = width / ratio / 2, py = height / ratio / 2) {
  const [x, y] = toMap(px, py);
  const least = 0.3 * Math.min(width, height) /
    Math.max(whole[1] - whole[0], whole[3] - whole[2], 1e-9);
  view.scale = Math.min(Math.max(view.scale * factor, least), least * 1e5);
  const [nx, ny] = toMap(px, py);
  view.x += x - nx;
  view.y += y - ny;
  draw();
}

function outline() {
  context.lineWidth = 2 * ratio;
  context.strokeStyle = dark.matches ? "#ffffff" : "#000000";
  context.fillStyle = dark.matches ? "#ffffff22" : "#00000018";
  context.beginPath();
  lasso.forEach(([x, y], i) => {
    const px = (x - view.x) * view.scale + width / 2;
    const py = (view.y - y) * view.scale + height / 2;
    if (i) context.lineTo(px, py); else context.moveTo(px, py);
  });
  context.closePath();
  context.fill();
  context.stroke();
}

// Even-odd rule, as the server counts.
function within(polygon) {
  let total = 0;
  const xs = polygon.map((p) => p[0]), ys = polygon.map((p) => p[1]);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  for (let i = 0; i < count; i++) {
    const x = points[2 * i], y = points[2 * i + 1];
    if (codes[i] === NOT_ASKED || !(x >= x0 && x <= x1 && y >= y0 && y <= y1)) continue;
    let odd = false;
    for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
      if ((ys[a] > y) !== (ys[b] > y) &&
        x < xs[a] + ((y - ys[a]) * (xs[b] - xs[a])) / (ys[b] - ys[a])) odd = !odd;
    }
    if (odd) total++;
  }
  return total;
}

function choose(polygon) {
  lasso = polygon;
  const rows = within(polygon);
  const corners = polygon.length > 400
    ? polygon.filter((_, i) => i % Math.ceil(polygon.length / 400) === 0) : polygon;
  form.elements.points.value = corners.map((p) => p.join(",")).join(" ");
  form.hidden = rows === 0;
  status.textContent = rows === 0
    ? "No row lies inside." : `${rows.toLocaleString("en")} ${rows === 1 ? "row" : "rows"} inside.`;
  draw();
}

// Where the hand moves: pan, or draw around rows.
const fingers = new Map();
let dragged = 0;
const at = (event) => {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, at(event));
  dragged = 0;
  hide();
  if (choosing || event.shiftKey) lasso = [toMap(...at(event))];
});
canvas.addEventListener("pointermove", (event) => {
  const now = at(event), before = fingers.get(event.pointerId);
  if (!before) return hover(now);
  const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
  dragged += Math.abs(dx) + Math.abs(dy);
  if (fingers.size === 2) {
    const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)[1];
    const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
    fingers.set(event.pointerId, now);
    return zoom(apart(now) / apart(before), other[0], other[1]);
  }
  fingers.set(event.pointerId, now);
  if (drawing(event)) {
    lasso.push(toMap(...now));
  } else {
    view.x -= (dx * ratio) / view.scale;
    view.y += (dy * ratio) / view.scale;
  }
  draw();
});
const drawing = (event) => lasso && !lasso.done && (choosing || event.shiftKey);
function lift(event) {
  if (!fingers.delete(event.pointerId)) return;
  if (lasso && !lasso.done && lasso.length > 2 && dragged > 12) {
    const polygon = lasso;
    polygon.done = true;
    return choose(polygon);
  }
  if (lasso && !lasso.done) lasso = null;
  const row = dragged <= 4 ? nearest(at(event)) : -1;
  if (row >= 0) location.href = `/row/${row}`;
}
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);
canvas.addEventListener("pointerleave", () => hide());
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...at(event));
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = 60 * ratio / view.scale;
  const keys = {
    ArrowLeft: () => { view.x -= step; }, ArrowRight: () => { view.x += step; },
    ArrowUp: () => { view.y += step; }, ArrowDown: () => { view.y -= step; },
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5),
    0: fit, Enter: inView,
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
  draw();
});

function inView() {
  const [w, h] = [width / ratio, height / ratio];
  const polygon = [toMap(0, 0), toMap(w, 0), toMap(w, h), toMap(0, h)];
  polygon.done = true;
  choose(polygon);
  if (!form.hidden) form.querySelector("button").focus();
}

const button = (id, act) => document.getElementById(id).addEventListener("click", act);
button("map-in", () => zoom(1.5));
button("map-out", () => zoom(1 / 1.5));
button("map-whole", () => { fit(); draw(); });
button("map-view", inView);
button("map-lasso", (event) => {
  choosing = !choosing;
  event.currentTarget.setAttribute("aria-pressed", String(choosing));
  canvas.classList.toggle("choosing", choosing);
});
const show = document.getElementById("map-show");
if (show) show.addEventListener("change", () => settle(0));

// The row nearest to a pixel, if one is near; else -1.
function nearest([px, py], reach = 9) {
  const [x, y] = toMap(px, py);
  let best = (reach * ratio / view.scale) ** 2, row = -1;
  for (let i = 0; i < count; i++) {
    const dx = points[2 * i] - x, dy = points[2 * i + 1] - y;
    if (codes[i] !== NOT_ASKED && dx * dx + dy * dy < best) {
      best = dx * dx + dy * dy;
      row = i;
    }
  }
  return row;
}

let pointing = 0, told = -1;
function hide() {
  clearTimeout(pointing);
  tip.hidden = true;
  told = -1;
}
function hover(now) {
  clearTimeout(pointing);
  pointing = setTimeout(async () => {
    const row = nearest(now);
    if (row === told) return;
    if (row < 0) return hide();
    told = row;
    const [told_of] = await (await fetch(`/brief?n=${row}`)).json();
    if (told !== row) return;
    tip.replaceChildren();
    if (told_of.picture) {
      const shown = document.createElement("img");
      shown.src = `/picture/${row}`;
      shown.alt = "";
      tip.append(shown);
    }
    for (const words of [told_of.caption, told_of.fate]) {
      if (!words) continue;
      const line = document.createElement("span");
      line.textContent = words;
      tip.append(line);
    }
    const [px, py] = toPixel(row);
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), room = canvas.getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(px + 12, room.width - box.width))}px`;
    tip.style.top = `${Math.max(0, Math.min(py + 12, room.height - box.height))}px`;
  }, 70);
}

// Pictures of what is in view, one for each part of it, once it stands still.
let settling = 0;
function settle(wait = 160) {
  clearTimeout(settling);
  pictures.replaceChildren();
  if (!show) return;
  settling = setTimeout(() => {
    if (!(show.checked || (visible > 0 && visible <= 150)) || lasso) return;
    const taken = new Map(), [w, h] = [width / ratio, height / ratio];
    for (let i = 0; i < count; i++) {
      if (codes[i] === NOT_ASKED) continue;
      const [px, py] = toPixel(i);
      if (!(px >= 0 && py >= 0 && px < w && py < h)) continue;
      const cell = `${(px / CELL) | 0},${(py / CELL) | 0}`;
      const near = (px % CELL - CELL / 2) ** 2 + (py % CELL - CELL / 2) ** 2;
      const known = taken.get(cell);
      if (!known || near < known.near) taken.set(cell, { i, px, py, near });
    }
    for (const { i, px, py } of taken.values()) {
      const link = document.createElement("a");
      link.href = `/row/${i}`;
      link.setAttribute("aria-label", `row ${i}`);
      const shown = document.createElement("img");
      shown.src = `/picture/${i}`;
      shown.alt = "";
      link.append(shown);
      link.style.left = `${Math.max(0, Math.min(px - 36, w - 72))}px`;
      link.style.top = `${Math.max(0, Math.min(py - 36, h - 72))}px`;
      pictures.append(link);
    }
  }, wait);
}

stage.hidden = false;
document.getElementById("map-picture").hidden = true;
new ResizeObserver(resize).observe(canvas);
dark.addEventListener("change", draw);
