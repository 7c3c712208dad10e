/* A scatter plot of tracks on a canvas, with pan and zoom by pointer, wheel, touch and keyboard. Needs map_tracks.js,
   map_paint.js and map_input.js.

     const map = createMap(element, tracks, { onPick, onHover, onMove });

   `element` receives the canvas, which fills it; `tracks` comes from mapTracks.read. onPick and onHover are
   called with the row of a track, or -1 for none; onMove is called when tracks have moved on the screen. The returned
   map has the property `tracks`, and its method `colourBy` returns the legend; a tag must have been loaded. */
"use strict";

const createMap = (() => {
  // Paul Tol's bright colours, which are safe for colour-blind people. Further groups are rings in the same colours.
  const THEMES = {
    light: { paper: "#ffffff", ink: "#222222", plain: "#4477aa", faint: "#c3c7cd", strong: "#c2410c",
             colours: ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"] },
    dark: { paper: "#16181c", ink: "#eeeeee", plain: "#7fb2e5", faint: "#50555e", strong: "#ff9a4d",
            colours: ["#6fa0d8", "#ff8896", "#45b560", "#e0d060", "#8ce4ff", "#d873b4"] },
  };
  const [MIN_ZOOM, MAX_ZOOM, FILLS] = [0.5, 500, 0.92];
  const [SLOW_MS, QUICK_MS, REST_MS, FLIGHT_MS, AT_LEAST] = [34, 20, 140, 450, 4000];
  const BIGGEST_PX = 9; // radius of a mark

  return function createMap(element, tracks, { onPick = () => {}, onHover = () => {}, onMove = () => {} } = {}) {
    const { xs, ys, count } = tracks;
    const nearest = mapTracks.grid(tracks);
    const canvas = element.appendChild(document.createElement("canvas"));
    canvas.style.cssText = "display: block; width: 100%; height: 100%; touch-action: none; cursor: grab;";
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", `Map of ${count} tracks. Arrow keys move, plus and minus zoom, 0 shows everything, `
      + "Enter selects the track nearest to the centre, Escape clears the selection.");
    const pen = canvas.getContext("2d", { alpha: false });
    const darkness = matchMedia("(prefers-color-scheme: dark)");
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    const view = { x: 0.5, y: 0.5, zoom: 1 };
    const stamps = new Map();
    let painter = null;
    let [width, height, ratio] = [1, 1, 1];
    let theme = THEMES.light;
    let by = null;
    let [looks, codes, names, lit] = [[], new Uint8Array(count), [], null];
    let [hovered, picked] = [-1, -1];
    let [scheduled, flight, rest, moving, before, share] = [0, 0, 0, false, 0, 1];

    // Shuffled, so that no group covers another, and so that the first tracks are a random sample.
    const order = Uint32Array.from(xs, (_, i) => i);
    for (let i = count - 1, state = 1; i > 0; i--) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const j = state % (i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }

    const extent = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value - 0.5)), 1e-3) * 2;
    const [wide, high] = [extent(xs), extent(ys)];
    const scale = () => Math.min(width / wide, height / high) * FILLS * view.zoom;
    const onScreen = ({ x, y }) => ({ x: (x - view.x) * scale() + width / 2, y: (y - view.y) * scale() + height / 2 });
    const screenOf = (i) => onScreen({ x: xs[i], y: ys[i] });
    const placeOf = (x, y) => ({ x: (x - width / 2) / scale() + view.x, y: (y - height / 2) / scale() + view.y });
    const radius = () => Math.min(BIGGEST_PX, Math.max(1.3, Math.min(5, 110 / Math.sqrt(count))) * view.zoom ** 0.35);
    const at = (x, y, reach) => nearest(placeOf(x, y).x, placeOf(x, y).y, reach / scale(), lit);
    const schedule = () => (scheduled ||= requestAnimationFrame(draw));

    function stampOf(look, dim) {
      const r = radius() * ratio;
      const key = `${look.colour} ${look.ring} ${dim} ${r}`;
      if (stamps.size > 500) stamps.clear();
      if (!stamps.has(key)) stamps.set(key, painter.stamp(look, r, dim ? 0.15 : count > 5000 ? 0.75 : 0.9));
      return stamps.get(key);
    }

    function drawTracks(shown, included, dim) {
      const own = looks.map((look) => stampOf(look, dim));
      const side = own[0].side;
      const factor = scale() * ratio;
      const left = (canvas.width - side) / 2 - view.x * factor;
      const top = (canvas.height - side) / 2 - view.y * factor;
      for (let place = 0; place < shown; place++) {
        const i = order[place];
        const x = Math.round(xs[i] * factor + left);
        const y = Math.round(ys[i] * factor + top);
        if (x > -side && y > -side && x < canvas.width && y < canvas.height && included(i)) painter.print(own[codes[i]], x, y);
      }
    }

    function ring(i, colour, lineWidth, gap = 3) {
      const { x, y } = screenOf(i);
      Object.assign(pen, { strokeStyle: colour, lineWidth });
      pen.beginPath();
      pen.arc(x, y, radius() + gap, 0, 2 * Math.PI);
      pen.stroke();
    }

    function drawNeighbours() {
      const from = screenOf(picked);
      Object.assign(pen, { strokeStyle: theme.ink, lineWidth: 1, globalAlpha: 0.5 });
      pen.beginPath();
      for (const { row } of tracks.neighboursOf(picked)) {
        const to = screenOf(row);
        pen.moveTo(from.x, from.y);
        pen.lineTo(to.x, to.y);
      }
      pen.stroke();
      pen.globalAlpha = 1;
      for (const { row } of tracks.neighboursOf(picked)) ring(row, theme.ink, 1.5);
      ring(picked, theme.strong, 3, 6);
    }

    function drawNames() {
      Object.assign(pen, { font: "600 12px system-ui, sans-serif", lineJoin: "round" });
      Object.assign(pen, { textAlign: "center", textBaseline: "middle" });
      const taken = [];
      for (const { name, place } of names) {
        const half = pen.measureText(name).width / 2 + 3;
        const { x: middle, y } = onScreen(place);
        if (middle < 0 || middle > width) continue;
        const x = Math.max(half, Math.min(width - half, middle));
        if (taken.some((other) => Math.abs(other.y - y) < 16 && Math.abs(other.x - x) < other.half + half)) continue;
        taken.push({ x, y, half });
        Object.assign(pen, { strokeStyle: theme.paper, fillStyle: theme.ink, lineWidth: 4 });
        pen.strokeText(name, x, y);
        pen.fillText(name, x, y);
      }
    }

    function draw(now) {
      scheduled = 0;
      if (moving && before) { // on slow machines only a sample is drawn while the map moves
        if (now - before > SLOW_MS) share = Math.max(share * 0.7, Math.min(1, AT_LEAST / count));
        else if (now - before < QUICK_MS) share = Math.min(1, share * 1.15);
      }
      before = moving ? now : 0;
      const shown = moving ? Math.ceil(count * share) : count;
      painter.clear(theme.paper);
      if (lit) drawTracks(shown, (i) => !lit[i], true);
      if (by) drawTracks(shown, (i) => !codes[i] && (!lit || lit[i]), false);
      drawTracks(shown, (i) => (codes[i] || !by) && (!lit || lit[i]), false);
      painter.show();
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      if (picked >= 0) drawNeighbours();
      if (!lit) drawNames();
      if (hovered >= 0) ring(hovered, theme.ink, 2);
      Object.assign(canvas.dataset, { drawn: shown, hovered, picked });
    }

    function moved() {
      const margin = 0.5 / view.zoom;
      view.x = Math.max(-margin, Math.min(1 + margin, view.x));
      view.y = Math.max(-margin, Math.min(1 + margin, view.y));
      moving = true;
      clearTimeout(rest);
      rest = setTimeout(() => { moving = false; schedule(); }, REST_MS);
      schedule();
      onMove();
    }

    function pan(dx, dy) {
      view.x -= dx / scale();
      view.y -= dy / scale();
      moved();
    }

    function zoomAt(x, y, factor) {
      const place = placeOf(x, y);
      view.zoom = Math.max(MIN_ZOOM, Math.min(MAX_ZOOM, view.zoom * factor));
      const now = placeOf(x, y);
      view.x += place.x - now.x;
      view.y += place.y - now.y;
      moved();
    }

    function flyTo(target) {
      cancelAnimationFrame(flight);
      const [from, start] = [{ ...view }, performance.now()];
      const step = (now) => {
        const passed = calm.matches ? 1 : Math.min(1, Math.max(0, now - start) / FLIGHT_MS);
        const part = passed * passed * (3 - 2 * passed);
        view.zoom = from.zoom * (target.zoom / from.zoom) ** part;
        view.x = from.x + (target.x - from.x) * part;
        view.y = from.y + (target.y - from.y) * part;
        moved();
        if (passed < 1) flight = requestAnimationFrame(step);
      };
      step(start);
    }

    const showAll = () => flyTo({ x: 0.5, y: 0.5, zoom: 1 });

    function hover(i) {
      if (i === hovered) return;
      hovered = i;
      canvas.style.cursor = i < 0 ? "grab" : "pointer";
      schedule();
      onHover(i);
    }

    function pick(i) {
      picked = i;
      schedule();
      if (i >= 0 && !tracks.loaded(i)) tracks.load(i).then(schedule, () => {}); // shows its neighbours
      onPick(i);
    }

    function colourBy(chosen) {
      by = chosen;
      ({ looks, codes } = mapTracks.looks(tracks, by, theme));
      const titled = by && by.column ? looks.map((look, code) => ({ ...look, code })).slice(1) : [];
      names = titled.map(({ name, code }) => ({ name, place: mapTracks.centreOf(code, codes, tracks) }));
      names = names.filter(({ place }) => place);
      schedule();
      return looks;
    }

    function fit() {
      ({ clientWidth: width, clientHeight: height } = canvas);
      ratio = Math.min(3, devicePixelRatio || 1);
      canvas.width = Math.max(1, Math.round(width * ratio));
      canvas.height = Math.max(1, Math.round(height * ratio));
      painter = mapPaint.makePainter(pen, Math.ceil(2 * BIGGEST_PX * ratio) + 2);
      stamps.clear();
      schedule();
      onMove();
    }

    function repaint() {
      theme = darkness.matches ? THEMES.dark : THEMES.light;
      colourBy(by);
    }

    const fitting = new ResizeObserver(fit);
    fitting.observe(element);
    darkness.addEventListener("change", repaint);
    repaint();
    fit();
    mapInput.listen(canvas, { at, pan, zoomAt, hover, pick, showAll, stop: () => cancelAnimationFrame(flight) });
    return {
      canvas,
      tracks,
      colourBy,
      hover,
      pick,
      screenOf,
      view: () => ({ ...view }),
      lookOf: (i) => codes[i],
      showAll,
      flyTo: (i) => flyTo({ x: xs[i], y: ys[i], zoom: Math.max(view.zoom, Math.min(12, Math.sqrt(count) / 6)) }),
      /* Dim all rows but these, and allow picking only these; null for all. */
      highlight(rows) {
        lit = rows && new Uint8Array(count);
        for (const i of rows || []) lit[i] = 1;
        schedule();
      },
      remove() {
        fitting.disconnect();
        darkness.removeEventListener("change", repaint);
        [scheduled, flight].forEach(cancelAnimationFrame);
        clearTimeout(rest);
        canvas.remove();
      },
    };
  };
})();
