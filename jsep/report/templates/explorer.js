"use strict";
// The gallery: image, map and curve of one pair move together with the step of the attack.
(function () {
  const holder = document.getElementById("explorer-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const { bytes, read, scaled, metrics, paint, fromPalette } = explorerMaps;
  const { draw, short } = explorerChart;
  const [height, width, channels] = data.size;
  const size = height * width;
  const slider = document.getElementById("step");
  const play = document.getElementById("play");
  const metric = document.getElementById("metric");
  const svg = document.getElementById("curve");
  const get = (id) => document.getElementById(id);
  const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

  const decoded = {};
  function attackOf(method, pair) {
    const key = `${method}/${pair}`;
    if (!decoded[key]) {
      const own = data.attacks[method][pair];
      decoded[key] = { ...own, pixels: bytes(own.images), maps: read(own.maps, size), goal: read(own.target, size)[0] };
    }
    return decoded[key];
  }
  const targets = data.pairs.map((pair) => bytes(pair.image));

  function grey(pixels, offset) {
    return (i) => {
      const at = offset + i * channels;
      return channels === 1 ? [pixels[at], pixels[at], pixels[at]] : [pixels[at], pixels[at + 1], pixels[at + 2]];
    };
  }

  for (const [index, radio] of document.querySelectorAll("input[name=pair]").entries()) {
    const [victim, target] = radio.parentElement.querySelectorAll("canvas");
    paint(victim, data.size, grey(attackOf(data.methods[0].name, index).pixels, 0));
    paint(target, data.size, grey(targets[index], 0));
  }

  const largestOf = (maps) => maps.reduce((top, map) => map.reduce((high, v) => Math.max(high, Math.abs(v)), top), 0) || 1;
  const units = { l1: ["% of the map", 100], max: ["largest = 1", 1], l2: ["length = 1", 1], none: ["raw", 1] };
  const three = (v) => String(Number(v.toPrecision(3))).replace("-", "−");

  function bar(name, palette, low, high) {
    const box = document.createElement("div");
    const ramp = document.createElement("div");
    ramp.className = "ramp";
    ramp.style.background = `linear-gradient(to right, ${palette.map((c) => `rgb(${c.join(",")})`).join(",")})`;
    const ends = document.createElement("div");
    ends.className = "ends";
    for (const text of [low, high]) ends.append(Object.assign(document.createElement("span"), { textContent: text }));
    box.append(ramp, ends, Object.assign(document.createElement("div"), { textContent: name }));
    return box;
  }

  let nearest = () => 0;
  function curveOf(method, pair, scale) {
    const own = attackOf(method, pair);
    const maps = own.maps.map((map) => scaled(map, scale));
    const goal = scaled(own.goal, scale);
    const factor = metric.value === "loss" && scale === "l1" ? size * size : 1;
    return maps.map((map) => factor * metrics[metric.value](map, maps[0], goal));
  }

  function show() {
    const [method, pair, scale] = [chosen("method"), Number(chosen("pair")), chosen("scale")];
    const index = Number(slider.value), step = data.steps[index];
    const own = attackOf(method, pair);
    const title = data.methods.find((entry) => entry.name === method).title;
    const names = data.pairs[pair];
    const offset = index * size * channels;

    paint(get("tile-victim"), data.size, grey(own.pixels, 0));
    paint(get("tile-now"), data.size, grey(own.pixels, offset));
    paint(get("tile-target"), data.size, grey(targets[pair], 0));
    // One scale for all steps, so that the slider shows how the change grows.
    const limit = Math.max(...own.change) || 1 / 255;
    paint(get("tile-change"), data.size, (i) => {
      let change = 0;
      for (let c = 0; c < channels; c++) change += (own.pixels[offset + i * channels + c] - own.pixels[i * channels + c]) / 255;
      return fromPalette(data.palettes.change, 0.5 + (0.5 * change) / channels / limit);
    });

    const maps = own.maps.map((map) => scaled(map, scale)), goal = scaled(own.goal, scale);
    const largest = largestOf([...maps, goal]);
    const mapColour = (map) => (i) => fromPalette(data.palettes.map, Math.sqrt(Math.max(map[i], 0) / largest));
    paint(get("tile-victim-map"), data.size, mapColour(maps[0]));
    paint(get("tile-now-map"), data.size, mapColour(maps[index]));
    paint(get("tile-target-map"), data.size, mapColour(goal));
    const moved = maps[index].map((v, i) => v - maps[0][i]);
    const reach = largestOf(maps.map((map) => map.map((v, i) => v - maps[0][i])));
    paint(get("tile-change-map"), data.size, (i) => fromPalette(data.palettes.change, 0.5 + (0.5 * moved[i]) / reach));

    const kept = own.predicted[index] === own.predicted[0];
    const prediction = kept ? `predicted ${own.predicted[index]}` : `predicted ${own.predicted[index]}, was ${own.predicted[0]}`;
    const pixels = (map) => `${metrics.pixels(map).toFixed(1)} eff. px`;
    const below = {
      victim: names.victim, now: prediction, target: names.target, change: `at most ${short(own.change[index])}`,
      "victim-map": pixels(maps[0]), "now-map": pixels(maps[index]), "target-map": pixels(goal), "change-map": "",
    };
    for (const key of ["now", "now-map"]) {
      get(`tile-${key}`).parentElement.querySelector("figcaption").textContent = `${key === "now" ? "image" : "map"} at step ${step}`;
    }
    for (const [key, text] of Object.entries(below)) {
      get(`below-${key}`).textContent = text;
      const canvas = get(`tile-${key}`);
      canvas.setAttribute("aria-label", `${canvas.parentElement.querySelector("figcaption").textContent}, ${title}, step ${step}: ${text}`);
    }
    const [unit, factor] = units[scale];
    get("bars").replaceChildren(
      bar(`maps [${unit}], square-root scale`, data.palettes.map, "0", three(factor * largest)),
      bar("change of a pixel [white − black = 1]", data.palettes.change, `−${three(limit)}`, `+${three(limit)}`),
      bar(`change of the map [${unit}]`, data.palettes.change, `−${three(factor * reach)}`, `+${three(factor * reach)}`)
    );

    const curves = data.methods.map((entry) => ({
      name: entry.title, colour: entry.colour, chosen: entry.name === method, values: curveOf(entry.name, pair, scale),
    }));
    const label = metric.selectedOptions[0].textContent + (metric.value === "loss" ? (scale === "l1" ? " [N²·MSE]" : " [MSE]") : "");
    get("curve-title").textContent = label[0].toUpperCase() + label.slice(1);
    nearest = draw(svg, { steps: data.steps, curves, index, fromZero: ["loss", "pixels"].includes(metric.value), unit: label });
    const values = curves.find((curve) => curve.chosen).values;
    const digits = (v) => (Math.abs(v) >= 100 ? v.toFixed(0).replace("-", "−") : three(v));
    get("curve-step").textContent = `step ${step}`;
    get("curve-rows").replaceChildren(...curves.map((curve, i) => {
      const row = document.createElement("tr");
      row.className = curve.chosen ? "chosen" : "";
      const head = document.createElement("th");
      head.scope = "row";
      const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
      swatch.style.setProperty("--c", data.methods[i].colour);
      head.append(swatch, curve.name);
      row.append(head, ...[curve.values[0], curve.values[index], curve.values.at(-1)].map((v) =>
        Object.assign(document.createElement("td"), { textContent: digits(v) })));
      return row;
    }));
    const reading = `Step ${step} of ${data.steps.at(-1)}, ${title}: ${label} ${digits(values[index])}, at the start ${digits(values[0])}. ` +
      `${kept ? "The prediction is unchanged" : "The prediction has changed"}; no pixel moved by more than ${short(own.change[index])}.`;
    get("reading").textContent = reading;
    slider.setAttribute("aria-valuetext", `step ${step}, ${label} ${digits(values[index])}`);
  }

  let timer = null;
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(slider.value) === Number(slider.max)) slider.value = 0;
    play.textContent = "Pause";
    show();
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      show();
      if (Number(slider.value) === Number(slider.max)) stop();
    }, 260);
  });
  slider.addEventListener("input", () => {
    stop();
    show();
  });
  svg.addEventListener("click", (event) => {
    slider.value = nearest(event.clientX - svg.getBoundingClientRect().left);
    stop();
    show();
  });
  for (const input of document.querySelectorAll("#explorer input[type=radio], #metric")) input.addEventListener("change", show);
  window.addEventListener("resize", show);
  show();
})();
