/* The map beside the tracks. */
"use strict";

const collectionMap = (() => {
  const { byId, make } = mapView;
  const rows = new Map();
  let [view, silent] = [null, false];

  /* Show the map. `onPick` is called with the id of a track. */
  function start(content, onPick) {
    byId("map-side").hidden = false;
    view = mapView.show(content, {
      onPick: (row) => row >= 0 && !silent && onPick(view.map.tracks.id(row)),
      legendEntry: (look) => make("span", { text: look.name }),
    });
    for (let i = 0; i < view.map.tracks.count; i++) rows.set(view.map.tracks.id(i), i);
    view.fillColours();
  }

  return {
    get map() {
      return view && view.map;
    },
    start,
    pick(id) {
      if (!view) return;
      silent = true;
      view.map.pick(rows.has(id) ? rows.get(id) : -1);
      if (rows.has(id)) view.map.flyTo(rows.get(id));
      silent = false;
    },
    highlight: (ids) => view && view.map.highlight(ids && ids.filter((id) => rows.has(id)).map((id) => rows.get(id))),
    colourByTag(name) {
      const code = view ? view.map.tracks.tagNames.indexOf(name) : -1;
      if (code >= 0) view.colourBy(`tag ${code}`);
    },
  };
})();
