"use strict";
// Pan, zoom and questions to footprints. Without this script the page shows the same, standing still.
(() => {
  const at = (id) => document.getElementById(id);
  const view = at("view"), map = at("map"), told = at("told"), chosen = at("chosen");
  const whole = { x: 0, y: 0, w: view.viewBox.baseVal.width, h: view.viewBox.baseVal.height };
  const CLOSEST = 64;  // times; one pixel of the scenes is then some centimetres wide
  let box = { ...whole };

  const between = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));

  function show(next) {
    const w = between(next.w, whole.w / CLOSEST, whole.w), h = w * whole.h / whole.w;
    box = { x: between(next.x, 0, whole.w - w), y: between(next.y, 0, whole.h - h), w, h };
    view.setAttribute("viewBox", `${box.x} ${box.y} ${box.w} ${box.h}`);
    view.classList.toggle("zoomed", box.w < whole.w * 0.999);
  }

  function place(event) {  // of a pointer, in path units
    const point = new DOMPoint(event.clientX, event.clientY);
    return point.matrixTransform(view.getScreenCTM().inverse());
  }

  function zoom(factor, centre = { x: box.x + box.w / 2, y: box.y + box.h / 2 }) {
    const w = between(box.w / factor, whole.w / CLOSEST, whole.w), change = w / box.w;
    show({ x: centre.x - (centre.x - box.x) * change, y: centre.y - (centre.y - box.y) * change, w });
  }

  // Pointers: one drags, two pinch, one that does not move asks.
  const pointers = new Map();
  let moved = 0;
  view.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    if (pointers.size === 1) moved = 0;
  });
  view.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    moved += Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY);
    if (moved > 4) view.setPointerCapture(event.pointerId);
    const other = [...pointers.values()].find((each) => each.pointerId !== event.pointerId);
    if (other) pinch(before, event, other); else drag(before, event);
    pointers.set(event.pointerId, event);
  });
  function drag(before, event) {
    const from = place(before), to = place(event);
    view.classList.add("dragged");
    show({ ...box, x: box.x + from.x - to.x, y: box.y + from.y - to.y });
  }
  function pinch(before, event, other) {
    const span = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const centre = { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 };
    zoom(span(event) / Math.max(span(before), 1), place(centre));
  }
  for (const end of ["pointerup", "pointercancel"]) {
    view.addEventListener(end, (event) => {
      if (end === "pointerup" && pointers.size === 1 && moved <= 4) ask(place(event));
      pointers.delete(event.pointerId);
      view.classList.remove("dragged");
    });
  }
  view.addEventListener("wheel", (event) => {
    const wants = event.deltaY < 0 || box.w < whole.w * 0.999;
    if (!wants) return;  // all is seen: the wheel scrolls the page
    event.preventDefault();
    zoom(Math.exp(-between(event.deltaY, -200, 200) / 300), place(event));
  }, { passive: false });
  view.addEventListener("dblclick", (event) => zoom(2, place(event)));

  const keys = {
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": () => show(whole),
    ArrowLeft: () => show({ ...box, x: box.x - box.w / 8 }), ArrowRight: () => show({ ...box, x: box.x + box.w / 8 }),
    ArrowUp: () => show({ ...box, y: box.y - box.h / 8 }), ArrowDown: () => show({ ...box, y: box.y + box.h / 8 }),
  };
  map.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  at("in").addEventListener("click", () => zoom(1.5));
  at("out").addEventListener("click", () => zoom(1 / 1.5));
  at("all").addEventListener("click", () => show(whole));
  for (const name of ["imagery", "footprints"]) {
    at(`show-${name}`).addEventListener("change", (event) => at(name).classList.toggle("off", !event.target.checked));
  }

  // Questions: paths are read once, on the first one.
  let footprints = null;
  function read() {
    footprints = [];
    for (const path of document.querySelectorAll("#footprints path[data-facts]")) {
      const facts = path.dataset.facts.split(" ").map(Number);
      path.getAttribute("d").split("M").slice(1).forEach((text, number) => {
        footprints.push({ text: `M${text}`, rings: rings(text), area: facts[2 * number], confidence: facts[2 * number + 1] });
      });
    }
  }
  function rings(text) {  // of "x y l dx dy … z m dx dy l …": absolute points
    let x = 0, y = 0;
    return text.split("z").filter(Boolean).map((part) => {
      const steps = part.match(/-?\d+/g).map(Number), points = [];
      [x, y] = [x + steps[0], y + steps[1]];
      let [px, py] = [x, y];
      points.push([px, py]);
      for (let i = 2; i + 1 < steps.length; i += 2) points.push([px += steps[i], py += steps[i + 1]]);
      return points;
    });
  }
  function inside(point, each) {  // even-odd rule over all rings
    let odd = false;
    for (const ring of each.rings) {
      for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
        const [xi, yi] = ring[i], [xj, yj] = ring[j];
        if ((yi > point.y) !== (yj > point.y) && point.x < (xj - xi) * (point.y - yi) / (yj - yi) + xi) odd = !odd;
      }
    }
    return odd;
  }
  function ask(point) {
    if (!footprints) read();
    const found = footprints.find((each) => inside(point, each));
    const [a, b, c, d, e, f] = view.dataset.affine.split(" ").map(Number), scale = view.dataset.factor / 10;
    const x = a * point.x * scale + b * point.y * scale + c, y = d * point.x * scale + e * point.y * scale + f;
    const digits = Math.abs(a) < 0.001 ? 6 : 1;
    chosen.setAttribute("d", found ? found.text : "");
    const what = found ? `${found.area} m², confidence ${found.confidence.toFixed(2)}` : "no footprint";
    told.textContent = `${what} at ${x.toFixed(digits)}, ${y.toFixed(digits)}`;
  }

  told.textContent = "Click a footprint for its area and confidence.";
  at("tools").hidden = at("switches").hidden = false;
})();
