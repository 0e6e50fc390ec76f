"use strict";
// The curve of the gallery: every method thin, the chosen one thick, a mark at the step that is shown.
const explorerChart = (function () {
  function element(parent, name, attributes, text) {
    // The namespace of the drawing itself, so that the page holds no address at all.
    const made = document.createElementNS(parent.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  function ticks(low, high, count) {
    const rough = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(i * step);
    return found;
  }

  function short(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    const text = size >= 1e5 || size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(4)));
    return text.replaceAll("-", "−");
  }

  // curves: [{name, colour, values, chosen}]; returns a function place -> index of the nearest step.
  function draw(svg, { steps, curves, index, fromZero, unit }) {
    const width = Math.max(svg.clientWidth, 240), height = Math.round(Math.min(330, Math.max(230, 0.66 * width)));
    const left = 52, right = 14, topEdge = 12, bottom = 40;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.style.height = `${height}px`;
    svg.replaceChildren();
    const all = curves.flatMap((curve) => curve.values).filter(Number.isFinite);
    let low = Math.min(...all), high = Math.max(...all);
    const pad = 0.06 * (high - low || Math.abs(high) || 1);
    [low, high] = [fromZero && low >= 0 ? 0 : low - pad, high + pad];
    const last = steps[steps.length - 1] || 1;
    const across = (step) => left + (step / last) * (width - left - right);
    const up = (value) => height - bottom - ((value - low) / (high - low)) * (height - bottom - topEdge);
    for (const tick of ticks(low, high, 5)) {
      element(svg, "line", { class: "grid", x1: left, x2: width - right, y1: up(tick), y2: up(tick) });
      element(svg, "text", { x: left - 7, y: up(tick) + 4, "text-anchor": "end" }, short(tick));
    }
    const floor = height - bottom;
    element(svg, "line", { class: "axis", x1: left, x2: width - right, y1: floor, y2: floor });
    for (const tick of ticks(0, last, width > 360 ? 6 : 4)) {
      element(svg, "line", { class: "axis", x1: across(tick), x2: across(tick), y1: floor, y2: floor + 4 });
      element(svg, "text", { x: across(tick), y: floor + 16, "text-anchor": "middle" }, short(tick));
    }
    element(svg, "text", { x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, "step of the attack");
    element(svg, "line", { class: "now", x1: across(steps[index]), x2: across(steps[index]), y1: topEdge, y2: floor });
    for (const curve of [...curves].sort((a, b) => a.chosen - b.chosen)) {
      const group = element(svg, "g", { style: `--c:${curve.colour}` });
      const path = curve.values.map((v, i) => `${i ? "L" : "M"}${across(steps[i]).toFixed(1)} ${up(v).toFixed(1)}`).join("");
      element(group, "path", { class: curve.chosen ? "line" : "line other", d: path });
      if (!curve.chosen) continue;
      for (const [i, value] of curve.values.entries()) {
        if (i !== index) element(group, "circle", { class: "spot", cx: across(steps[i]), cy: up(value), r: 2.6 });
      }
      element(group, "circle", { class: "spot", id: "curve-now", cx: across(steps[index]), cy: up(curve.values[index]), r: 6.5 });
    }
    svg.setAttribute("aria-label", curves.map((curve) =>
      `${curve.name}: ${short(curve.values[0])} at the start, ${short(curve.values.at(-1))} at the end`).join("; ") + ` [${unit}]`);
    return (place) => {
      const step = ((place - left) / (width - left - right)) * last;
      return steps.reduce((best, own, i) => (Math.abs(own - step) < Math.abs(steps[best] - step) ? i : best), 0);
    };
  }

  return { draw, short };
})();
