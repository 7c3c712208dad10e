/* The map beside the tracks: colours, legend, and what is under the pointer. */
"use strict";

const collectionMap = (() => {
  const { part, make } = eno;
  let [map, rows, tipped] = [null, new Map(), -1];

  function showTip(row) {
    tipped = row;
    part("tip").hidden = row < 0;
    if (row < 0) return;
    const { tracks } = map;
    const names = [tracks.value("artist", row), tracks.value("album", row)].filter(Boolean).join(" – ");
    const tags = tracks.tagsOf(row).slice(0, 6).map((tag) => tag.name).join(", ");
    part("tip").replaceChildren(make("b", { text: tracks.title(row) }), make("div", { text: names }), make("small", { text: tags }));
    placeTip();
  }

  function placeTip() {
    if (tipped < 0) return;
    const tip = part("tip");
    const { x, y } = map.screenOf(tipped);
    const [right, bottom] = [map.canvas.clientWidth - tip.offsetWidth - 4, map.canvas.clientHeight - tip.offsetHeight - 4];
    tip.style.left = `${Math.max(4, Math.min(right, x + 12))}px`;
    tip.style.top = `${Math.max(4, y + 16 <= bottom ? y + 16 : y - 16 - tip.offsetHeight)}px`;
  }

  function colourBy(value) {
    part("colour").value = value;
    const [kind, name] = [value.split(" ", 1)[0], value.slice(value.indexOf(" ") + 1)];
    const by = { column: { column: name }, tag: { tag: Number(name) } }[kind] || null;
    const looks = map.colourBy(by).filter((look) => look.count);
    const ordered = [...looks.slice(1), ...looks.slice(0, 1)];
    part("legend").replaceChildren(...ordered.map((look) => {
      const item = make("li", { text: look.name, className: look.ring ? "ring" : "" });
      item.style.setProperty("--mark", look.colour);
      return item;
    }));
  }

  function fillColours() {
    const { tracks } = map;
    const columns = Object.keys(tracks.columns).map((name) => make("option", { value: `column ${name}`, text: name }));
    const tags = tracks.tagNames.map((name, code) => make("option", { value: `tag ${code}`, text: name }));
    tags.sort((a, b) => a.text.localeCompare(b.text));
    part("colour").append(...columns, make("optgroup", { label: "tags", children: tags }), make("option", { value: "", text: "nothing" }));
    part("colour").addEventListener("change", (event) => colourBy(event.target.value));
    colourBy(part("colour").value);
  }

  /* Draw the map; `onPick` is told the id of a track. */
  function start(content, onPick) {
    part("map-side").hidden = false;
    let telling = true;
    const picked = (row) => row >= 0 && telling && onPick(map.tracks.id(row));
    map = createMap(part("map"), content, { onPick: picked, onHover: showTip, onMove: placeTip });
    for (let i = 0; i < map.tracks.count; i++) rows.set(map.tracks.id(i), i);
    fillColours();
    api.map = map; // for whoever drives the page
    api.pick = (id) => {
      telling = false;
      map.pick(rows.has(id) ? rows.get(id) : -1);
      if (rows.has(id)) map.flyTo(rows.get(id));
      telling = true;
    };
  }

  const api = {
    map: null,
    start,
    pick: () => {},
    highlight: (ids) => map && map.highlight(ids && ids.filter((id) => rows.has(id)).map((id) => rows.get(id))),
    colourByTag(name) {
      const code = map ? map.tracks.tagNames.indexOf(name) : -1;
      if (code >= 0) colourBy(`tag ${code}`);
    },
  };
  return api;
})();
