"use strict";
// Surfaces z = f(x, y) on canvases, one a run: painter's algorithm on the quadrilaterals of a grid, rotated by mouse,
// touch or keys, all of them together. Data: [{label, places, functions: {name: {unit, surfaces: {method: rows}}}}];
// rows run along the attack, columns across.
(function () {
  const holder = document.getElementById("surface-data");
  if (!holder) return;
  const panels = JSON.parse(holder.textContent);
  const boxes = [...document.querySelectorAll(".surface-panel")];
  const chooseFunction = document.getElementById("surface-function");
  const chooseMethod = document.getElementById("surface-method");
  // Nine colours of cividis, dark to light: told apart without red and green.
  const stops = [[0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115], [138, 134, 120], [165, 156, 116], [195, 179, 105], [253, 231, 55]];
  const start = { turn: -0.7, tilt: 0.95, zoom: 1 };
  let view = { ...start };

  function fill(select, names) {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
  }
  // What any of the runs has.
  fill(chooseFunction, [...new Set(panels.flatMap((panel) => Object.keys(panel.functions)))]);
  function fillMethods() {
    const before = chooseMethod.value;
    const own = panels.map((panel) => panel.functions[chooseFunction.value]).filter(Boolean);
    const names = [...new Set(own.flatMap((each) => Object.keys(each.surfaces)))];
    fill(chooseMethod, names);
    if (names.includes(before)) chooseMethod.value = before;
  }
  fillMethods();

  function colour(share) {
    const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const index = Math.min(Math.floor(place), stops.length - 2);
    const mixed = stops[index].map((low, i) => Math.round(low + (stops[index + 1][i] - low) * (place - index)));
    return `rgb(${mixed.join(",")})`;
  }

  function ends() {
    // One scale for all methods and runs of a function, so that they compare.
    const own = panels.map((panel) => panel.functions[chooseFunction.value]).filter(Boolean);
    const all = own.flatMap((each) => Object.values(each.surfaces).flat(2)).filter((v) => v !== null);
    return [Math.min(...all), Math.max(...all)];
  }

  function project(x, y, z, width, height) {
    const [c, s] = [Math.cos(view.turn), Math.sin(view.turn)];
    const [u, v] = [x * c - y * s, x * s + y * c];
    // Whole at the first view, corners and floor.
    const size = 0.335 * Math.min(width, height) * view.zoom;
    return {
      left: width / 2 + u * size,
      top: height / 2 + (v * Math.cos(view.tilt) - z * Math.sin(view.tilt)) * size + 0.05 * height,
      depth: v * Math.sin(view.tilt) + z * Math.cos(view.tilt),
    };
  }

  function line(pen, points, style, width) {
    pen.strokeStyle = style;
    pen.lineWidth = width;
    pen.beginPath();
    points.forEach((p, i) => (i ? pen.lineTo(p.left, p.top) : pen.moveTo(p.left, p.top)));
    pen.stroke();
  }

  function draw() {
    panels.forEach((panel, index) => drawPanel(panel, boxes[index]));
  }

  function drawPanel(data, box) {
    const canvas = box.querySelector("canvas"), reading = box.querySelector(".status"), pen = canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const ink = getComputedStyle(canvas).color;
    const chosen = data.functions[chooseFunction.value];
    const rows = chosen && chosen.surfaces[chooseMethod.value];
    if (!rows) {
      reading.textContent = `${chooseMethod.value}: not in this run, or not with this function`;
      return;
    }
    const [low, high] = ends();
    const span = high - low || 1, reach = data.places[data.places.length - 1];
    const count = rows.length;
    const at = (i) => (data.places[i] / reach);
    const tall = (value) => 1.1 * ((value - low) / span) - 0.55;

    const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]].map(([x, y]) => project(x, y, -0.6, width, height));
    line(pen, corners, ink, 0.8);
    const faces = [];
    for (let i = 0; i + 1 < count; i++) {
      for (let j = 0; j + 1 < count; j++) {
        const own = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
        const values = own.map(([a, b]) => rows[a][b]);
        if (values.includes(null)) continue; // not finite: a hole
        const points = own.map(([a, b], k) => project(at(a), at(b), tall(values[k]), width, height));
        faces.push({ points, depth: points.reduce((sum, p) => sum + p.depth, 0), value: values.reduce((a, b) => a + b) / 4 });
      }
    }
    faces.sort((a, b) => a.depth - b.depth);
    for (const face of faces) {
      pen.fillStyle = colour((face.value - low) / span);
      pen.strokeStyle = "rgba(255,255,255,.35)";
      pen.lineWidth = 0.6;
      pen.beginPath();
      face.points.forEach((p, i) => (i ? pen.lineTo(p.left, p.top) : pen.moveTo(p.left, p.top)));
      pen.closePath();
      pen.fill();
      pen.stroke();
    }
    pen.fillStyle = ink;
    pen.font = "13px system-ui, sans-serif";
    pen.textAlign = "center";
    // The words lie over the surface: with an edge in the colour of the paper.
    pen.strokeStyle = getComputedStyle(canvas).backgroundColor;
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    for (const [text, x, y] of [
      [`attack path, −${reach} to ${reach} epsilon`, 0, 1.25],
      [`random direction, −${reach} to ${reach} epsilon`, 1.3, 0],
    ]) {
      const place = project(x, y, -0.6, width, height);
      const [left, top] = [Math.min(Math.max(place.left, 110), width - 110), Math.min(place.top, height - 6)];
      pen.strokeText(text, left, top);
      pen.fillText(text, left, top);
    }
    // The scale, at the left edge.
    const bar = { left: 14, top: 34, width: 12, height: Math.min(180, height - 80) };
    for (let k = 0; k < bar.height; k++) {
      pen.fillStyle = colour(1 - k / bar.height);
      pen.fillRect(bar.left, bar.top + k, bar.width, 1.5);
    }
    pen.fillStyle = ink;
    pen.textAlign = "left";
    pen.fillText(`${chooseFunction.value} [${chosen.unit}]`, bar.left, bar.top - 14);
    pen.fillText(high.toPrecision(3), bar.left + 18, bar.top + 10);
    pen.fillText(low.toPrecision(3), bar.left + 18, bar.top + bar.height);
    const middle = (count - 1) / 2;
    const own = Number.isInteger(middle) && rows[middle][middle] !== null ? rows[middle][middle].toPrecision(3) : "not on the grid";
    const known = rows.flat().filter((v) => v !== null);
    reading.textContent = `${chooseMethod.value}: ${own} at the image, ${Math.min(...known).toPrecision(3)} to ${Math.max(...known).toPrecision(3)} in the plane [${chosen.unit}]`;
  }

  const keys = {
    ArrowLeft: () => (view.turn -= 0.12), ArrowRight: () => (view.turn += 0.12),
    ArrowUp: () => (view.tilt = Math.max(0.15, view.tilt - 0.08)), ArrowDown: () => (view.tilt = Math.min(1.5, view.tilt + 0.08)),
    "+": () => (view.zoom = Math.min(2.5, view.zoom * 1.1)), "-": () => (view.zoom = Math.max(0.5, view.zoom / 1.1)),
    "0": () => (view = { ...start }),
  };
  let last = null;
  for (const canvas of boxes.map((box) => box.querySelector("canvas"))) {
    canvas.addEventListener("keydown", (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      keys[event.key]();
      event.preventDefault();
      draw();
    });
    canvas.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      view.turn += (event.clientX - last[0]) * 0.01;
      view.tilt = Math.min(1.5, Math.max(0.15, view.tilt + (event.clientY - last[1]) * 0.008));
      last = [event.clientX, event.clientY];
      draw();
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (last = null));
  }
  chooseFunction.addEventListener("change", () => {
    fillMethods();
    draw();
  });
  chooseMethod.addEventListener("change", draw);
  window.addEventListener("resize", draw);
  window.addEventListener("themechange", draw);
  draw();
})();
