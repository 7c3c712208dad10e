/* The tracks of a map: unpack eno.mapping.map_content, assign colours, and find tracks by position.

   A page that has only points (eno.mapping.map_points) makes its own tracks. Names, tags and neighbours of a row are then
   empty until the promise `load(row)` is kept, strengths of a tag until `loadTag(code)` is. */
"use strict";

const mapTracks = (() => {
  const GRADES = 4; // shades for the probability of a tag, not counting the faintest
  // A group is named on the map if it has this share of all tracks, and if this share of the group is in one place.
  const [MANY, TOGETHER] = [0.01, 0.5];

  function unpack({ type, data }) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    return new { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array }[type](bytes.buffer);
  }

  const positions = (content) => ({
    xs: Float32Array.from(unpack(content.x), (step) => step / 65535),
    ys: Float32Array.from(unpack(content.y), (step) => 1 - step / 65535),
  });

  /* Return positions, names, tags and neighbours by the row of a track. */
  function read(content) {
    const count = content.count;
    const column = ({ names, codes }) => ({ names, distinct: names.length, codes: unpack(codes) });
    const named = ({ names, codes }, i) => (codes[i] ? names[codes[i] - 1] : "");
    const columns = Object.fromEntries(Object.entries(content.columns).map(([name, one]) => [name, column(one)]));
    const folder = column(content.folder);
    const years = unpack(content.years);
    const { names, families, thresholds } = content.tags;
    const [starts, codes] = [unpack(content.tags.starts), unpack(content.tags.codes)];
    const strengths = content.tags.strengths && unpack(content.tags.strengths);
    const strengthAt = (place) => (strengths ? strengths[place] : 255);
    const rootOf = content.audio && content.audio.root_of && unpack(content.audio.root_of);
    const id = (i) => (named(folder, i) ? `${named(folder, i)}/` : "") + content.files[i];
    const k = content.neighbours.k;
    const [rows, percent] = [unpack(content.neighbours.rows), unpack(content.neighbours.percent)];
    return {
      count,
      columns,
      tagNames: names,
      tagFamilies: families,
      graded: Boolean(strengths),
      ...positions(content),
      loaded: () => true,
      tagLoaded: () => true,
      id,
      /* The address of a track's file; "" if the page plays no audio. */
      audio(i) {
        if (!content.audio) return "";
        const path = id(i).split("/").map(encodeURIComponent).join("/");
        return content.audio.odd[i] || `${content.audio.roots[rootOf ? rootOf[i] : 0]}/${path}`;
      },
      title: (i) => content.titles[i] || content.files[i].replace(/\.[^.#]+(#\d+)?$/, "$1"),
      value: (name, i) => (columns[name] ? named(columns[name], i) : ""),
      year: (i) => years[i] || "",
      neighboursOf: (i) => Array.from({ length: k }, (_, j) => ({ row: rows[i * k + j], percent: percent[i * k + j] })),
      tagsOf(i) {
        const own = [];
        for (let place = starts[i]; place < starts[i + 1]; place++) {
          const code = codes[place];
          if (strengthAt(place) > thresholds[code]) own.push({ code, name: names[code], strength: strengthAt(place) / 255 });
        }
        return own;
      },
      strengthsOf(tag) {
        const found = new Uint8Array(count);
        for (let i = 0; i < count; i++)
          for (let place = starts[i]; place < starts[i + 1]; place++)
            if (codes[place] === tag) found[i] = strengthAt(place);
        return found;
      },
    };
  }

  function blend(from, to, share) {
    const parts = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const [start, end] = [parts(from), parts(to)];
    const mixed = start.map((part, i) => Math.round(part + (end[i] - part) * share));
    return `#${mixed.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
  }

  /* Return the looks, which are also the legend, and the code of each track's look. Look 0 is for all other tracks.
     `by` is null, { column: name } or { tag: code }. */
  function looks(tracks, by, theme) {
    const chosen = [{ name: "tracks", colour: by ? theme.faint : theme.plain, ring: false }];
    const codes = new Uint8Array(tracks.count);
    if (by && by.column) {
      const { names, distinct, codes: values } = tracks.columns[by.column];
      const shown = Math.min(names.length, theme.colours.length * 2);
      chosen[0].name = distinct > shown ? `${(distinct - shown).toLocaleString()} others` : "none";
      for (let i = 0; i < shown; i++) {
        const colour = theme.colours[i % theme.colours.length];
        chosen.push({ name: names[i], colour, ring: i >= theme.colours.length });
      }
      for (let i = 0; i < tracks.count; i++) codes[i] = values[i] <= shown ? values[i] : 0;
    } else if (by) {
      const strengths = tracks.strengthsOf(by.tag);
      const grades = tracks.graded ? GRADES : 1;
      const percent = (grade) => Math.round((100 * grade) / (grades + 1));
      chosen[0].name = tracks.graded ? `below ${percent(1)} %` : `not ${tracks.tagNames[by.tag]}`;
      for (let grade = 1; grade <= grades; grade++) {
        const name = tracks.graded ? `from ${percent(grade)} %` : tracks.tagNames[by.tag];
        chosen.push({ name, colour: blend(theme.faint, theme.strong, grade / grades), ring: false });
      }
      for (let i = 0; i < tracks.count; i++) codes[i] = Math.min(grades, Math.floor((strengths[i] / 255) * (grades + 1)));
    }
    const counts = new Uint32Array(chosen.length);
    for (let i = 0; i < tracks.count; i++) counts[codes[i]]++;
    return { looks: chosen.map((look, code) => ({ ...look, count: counts[code] })), codes };
  }

  /* A grid of cells, for fast lookup of the nearest point. */
  function grid({ xs, ys }) {
    const side = Math.max(1, Math.min(512, Math.ceil(Math.sqrt(xs.length / 3))));
    const step = (value) => Math.max(0, Math.min(side - 1, Math.floor(value * side)));
    const cell = (i) => step(ys[i]) * side + step(xs[i]);
    const starts = new Uint32Array(side * side + 1);
    const points = new Uint32Array(xs.length);
    for (let i = 0; i < xs.length; i++) starts[cell(i) + 1]++;
    for (let at = 0; at < side * side; at++) starts[at + 1] += starts[at];
    const next = starts.slice();
    for (let i = 0; i < xs.length; i++) points[next[cell(i)]++] = i;
    return function nearest(x, y, radius, allowed) {
      let best = -1;
      let least = radius * radius;
      for (let row = step(y - radius); row <= step(y + radius); row++) {
        const end = starts[row * side + step(x + radius) + 1];
        for (let place = starts[row * side + step(x - radius)]; place < end; place++) {
          const i = points[place];
          const distance = (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
          if (distance <= least && (!allowed || allowed[i])) [best, least] = [i, distance];
        }
      }
      return best;
    };
  }

  /* Return the position for the name of a look, where most of its tracks are; null if they are few or scattered. */
  function centreOf(look, codes, { xs, ys }) {
    const side = 16;
    const wide = side + 2; // with a margin of one cell
    const cellOf = (value) => 1 + Math.min(side - 1, Math.floor(value * side));
    const counts = new Uint32Array(wide * wide);
    const members = [];
    for (let i = 0; i < codes.length; i++) if (codes[i] === look) members.push(i);
    for (const i of members) counts[cellOf(ys[i]) * wide + cellOf(xs[i])]++;
    let [best, most] = [0, 0];
    for (let cell = wide + 1; cell < counts.length - wide - 1; cell++) {
      let around = 0;
      for (const row of [-wide, 0, wide]) for (const column of [-1, 0, 1]) around += counts[cell + row + column];
      if (around > most) [best, most] = [cell, around];
    }
    if (most < MANY * codes.length || most < TOGETHER * members.length) return null;
    const [row, column] = [Math.floor(best / wide), best % wide];
    const close = members.filter((i) => Math.abs(cellOf(ys[i]) - row) < 2 && Math.abs(cellOf(xs[i]) - column) < 2);
    const mean = (values) => close.reduce((sum, i) => sum + values[i], 0) / close.length;
    const [x, y] = [mean(xs), mean(ys)];
    const away = (i) => (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
    const middle = close.reduce((best, i) => (away(i) < away(best) ? i : best)); // the mean itself may be between two groups
    return { x: xs[middle], y: ys[middle] };
  }

  return { unpack, positions, read, looks, grid, centreOf };
})();
