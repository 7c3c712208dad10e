/* Shared by all pages with a map: creating elements, the tooltip of a track, colours and their legend. */
"use strict";

const mapView = (() => {
  const TIP_TAGS = 8;
  const TIP_WAIT_MS = 60; // before a track under the pointer is loaded

  const byId = (id) => document.getElementById(id);

  /* Create an element. Text is never parsed as HTML. */
  function make(kind, { text = "", children = [], data = {}, ...properties } = {}) {
    const made = Object.assign(document.createElement(kind), properties);
    Object.assign(made.dataset, data);
    made.append(...(text === "" ? [] : [text]), ...children);
    return made;
  }

  const credits = ({ artist, album, year }) =>
    [artist, album && album + (year ? ` (${year})` : "")].filter(Boolean).join(" – ");

  /* Show a map in #map, with #tip, #colour and #legend. `legendEntry` makes the element for a look; `onColour` is called
     when the colours have changed, and `onProblem` with an error if they cannot be loaded. Call `fillColours` once. */
  function show(tracks, { onPick, onColour = () => {}, onProblem = () => {}, legendEntry }) {
    let [tipped, waiting, wanted] = [-1, 0, ""];
    const map = createMap(byId("map"), tracks, { onPick, onHover: showTip, onMove: placeTip });

    const creditsOf = (row) =>
      credits({ artist: tracks.value("artist", row), album: tracks.value("album", row), year: tracks.year(row) });

    function showTip(row) {
      tipped = row;
      clearTimeout(waiting);
      byId("tip").hidden = row < 0 || !tracks.loaded(row);
      if (row < 0) return;
      if (tracks.loaded(row)) return fillTip(row);
      waiting = setTimeout(() => tracks.load(row).then(() => row === tipped && showTip(row), () => {}), TIP_WAIT_MS);
    }

    function fillTip(row) {
      const tags = tracks.tagsOf(row).slice(0, TIP_TAGS).map((tag) => tag.name).join(", ");
      const lines = [make("b", { text: tracks.title(row) }), make("div", { text: creditsOf(row) })];
      byId("tip").replaceChildren(...lines, make("div", { className: "faint", text: tags }));
      byId("tip").dataset.row = row;
      placeTip();
    }

    function placeTip() {
      if (tipped < 0) return;
      const tip = byId("tip");
      const { x, y } = map.screenOf(tipped);
      const [right, bottom] = [map.canvas.clientWidth - tip.offsetWidth - 4, map.canvas.clientHeight - tip.offsetHeight - 4];
      const below = y + 16 <= bottom ? y + 16 : y - 16 - tip.offsetHeight;
      tip.style.left = `${Math.max(4, Math.min(right, x + 12))}px`;
      tip.style.top = `${Math.max(4, below)}px`;
    }

    /* `value` is "column NAME", "tag CODE" or "". */
    function colourBy(value) {
      byId("colour").value = wanted = value;
      const [kind, name] = [value.split(" ", 1)[0], value.slice(value.indexOf(" ") + 1)];
      if (kind === "tag" && !tracks.tagLoaded(Number(name)))
        return tracks.loadTag(Number(name)).then(() => value === wanted && colourBy(value), onProblem);
      const by = { column: { column: name }, tag: { tag: Number(name) } }[kind] || null;
      const looks = map.colourBy(by).map((look, code) => ({ ...look, code })).filter((look) => look.count);
      const ordered = [...looks.filter((look) => look.code), ...looks.filter((look) => !look.code)];
      onColour();
      return byId("legend").replaceChildren(...ordered.map((look) => {
        const entry = legendEntry(look);
        entry.classList.toggle("ring", look.ring);
        entry.style.setProperty("--mark", look.colour);
        return make("li", { children: [entry] });
      }));
    }

    function fillColours() {
      const columns = Object.keys(tracks.columns).map((name) => make("option", { value: `column ${name}`, text: name }));
      const families = new Set(["genre", "descriptor", ...tracks.tagFamilies]);
      const groups = [...families].map((family) => {
        const tags = tracks.tagNames.map((text, code) => ({ text, value: `tag ${code}`, family: tracks.tagFamilies[code] }));
        const own = tags.filter((tag) => tag.family === family).sort((a, b) => a.text.localeCompare(b.text));
        const children = own.map(({ text, value }) => make("option", { text, value }));
        return make("optgroup", { label: `tag: ${family}`, children });
      });
      const filled = groups.filter((group) => group.children.length);
      byId("colour").replaceChildren(...columns, ...filled, make("option", { value: "", text: "nothing" }));
      byId("colour").onchange = (event) => colourBy(event.target.value);
      colourBy(byId("colour").value);
    }

    return { map, creditsOf, colourBy, fillColours };
  }

  return { byId, make, credits, show };
})();
