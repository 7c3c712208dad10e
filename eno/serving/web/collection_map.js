/* The map beside the tracks. */
"use strict";

const collectionMap = (() => {
  const { byId, make } = mapView;
  let [view, silent] = [null, false];
  let [picked, lit] = ["", null]; // ids; what is on its way may be outdated when it arrives

  /* Show the map that the service draws. `onPick` is called with the id of a track. */
  async function start(onPick) {
    const content = await eno.ask("v1/map");
    const tracks = mapPoints.read(content, { ask: eno.ask, post: eno.post, onChanged: () => start(onPick).catch(report) });
    byId("map-side").hidden = false;
    if (view) view.map.remove();
    view = mapView.show(tracks, {
      onPick: (row) => row >= 0 && !silent && open(row, onPick),
      onProblem: report,
      legendEntry: (look) => make("span", { text: look.name }),
    });
    byId("map-count").textContent = content.count < content.of
      ? `${content.count.toLocaleString()} of ${content.of.toLocaleString()} tracks, drawn at random` : "";
    view.fillColours();
    pick(picked);
    highlight(lit);
  }

  const report = (error) => error.status !== 409 && eno.showStatus(error.message, { problem: true });

  function open(row, onPick) {
    const { tracks } = view.map;
    const ready = tracks.loaded(row) ? Promise.resolve() : tracks.load(row);
    ready.then(() => onPick(tracks.id(row)), report);
  }

  const rowsOf = (ids) => (ids.length ? view.map.tracks.rowsOf(ids) : Promise.resolve([]));

  /* Select a track and go there, or select none. */
  async function pick(id) {
    picked = id;
    if (!view) return;
    const [row] = await rowsOf(id ? [id] : []).catch(() => []);
    if (picked !== id) return;
    silent = true;
    view.map.pick(row ?? -1);
    if (row != null) view.map.flyTo(row);
    silent = false;
  }

  /* Dim all tracks but these; null for all. */
  async function highlight(ids) {
    lit = ids;
    if (!view) return;
    const rows = ids && (await rowsOf(ids).catch(() => []));
    if (lit === ids) view.map.highlight(rows && rows.filter((row) => row != null));
  }

  return {
    get map() {
      return view && view.map;
    },
    start,
    pick,
    highlight,
    colourByTag(name) {
      const code = view ? view.map.tracks.tagNames.indexOf(name) : -1;
      if (code >= 0) view.colourBy(`tag ${code}`);
    },
  };
})();
