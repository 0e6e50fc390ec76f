"use strict";
// Maps of the gallery: read from the page, brought to a scale, compared, painted.
const explorerMaps = (function () {
  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  }

  // {values, largest} -> one Float64Array a map.
  function read(packed, size) {
    const raw = bytes(packed.values);
    const view = new DataView(raw.buffer);
    return packed.largest.map((largest, index) =>
      Float64Array.from({ length: size }, (_, i) => (view.getInt16(2 * (index * size + i), true) / 32767) * largest)
    );
  }

  const sum = (values, part) => values.reduce((total, value) => total + part(value), 0);
  const norms = {
    l1: (map) => sum(map, Math.abs),
    l2: (map) => Math.sqrt(sum(map, (v) => v * v)),
    max: (map) => map.reduce((largest, v) => Math.max(largest, Math.abs(v)), 0),
    none: () => 1,
  };

  function scaled(map, scale) {
    const size = norms[scale](map) || 1;
    return map.map((v) => v / size);
  }

  // Ranks with ties at their mean.
  function ranks(map) {
    const order = [...map.keys()].sort((a, b) => map[a] - map[b]);
    const found = new Float64Array(map.length);
    for (let first = 0; first < order.length; ) {
      let last = first;
      while (last + 1 < order.length && map[order[last + 1]] === map[order[first]]) last++;
      for (let i = first; i <= last; i++) found[order[i]] = (first + last) / 2;
      first = last + 1;
    }
    return found;
  }

  function cosine(a, b) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = 0; i < a.length; i++) [ab, aa, bb] = [ab + a[i] * b[i], aa + a[i] * a[i], bb + b[i] * b[i]];
    return ab / Math.sqrt(aa * bb);
  }

  function centred(values) {
    const mean = sum(values, (v) => v) / values.length;
    return values.map((v) => v - mean);
  }

  function squared(a, b) {
    let total = 0;
    for (let i = 0; i < a.length; i++) total += (a[i] - b[i]) ** 2;
    return total / a.length;
  }

  function top(map) {
    const count = Math.max(1, Math.floor(map.length / 10));
    return new Set([...map.keys()].sort((a, b) => map[b] - map[a]).slice(0, count));
  }

  // Of a map at one step, the map at the start and the target's map, all on one scale.
  const metrics = {
    loss: (map, start, target) => squared(map, target),
    removed: (map, start, target) => 100 * (1 - squared(map, target) / squared(start, target)),
    cosine: (map, start, target) => cosine(map, target),
    spearman: (map, start, target) => cosine(centred(ranks(map)), centred(ranks(target))),
    overlap: (map, start, target) => {
      const [own, other] = [top(map), top(target)];
      return (100 * [...own].filter((i) => other.has(i)).length) / own.size;
    },
    pixels: (map) => {
      const shares = scaled(map, "l1");
      return 1 / sum(shares, (v) => v * v);
    },
  };

  function paint(canvas, [height, width], colourAt) {
    canvas.width = width;
    canvas.height = height;
    const pen = canvas.getContext("2d");
    const picture = pen.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      picture.data.set(colourAt(i), 4 * i);
      picture.data[4 * i + 3] = 255;
    }
    pen.putImageData(picture, 0, 0);
  }

  function fromPalette(palette, share) {
    return palette[Math.round(Math.min(Math.max(share, 0), 1) * (palette.length - 1))];
  }

  return { bytes, read, scaled, metrics, paint, fromPalette };
})();
