/* The page of a map: search, legend, and the card of the selected track. */
"use strict";

(() => {
  const [LISTED, WAIT_MS] = [60, 120];
  const { byId, make } = mapView;
  const tracks = mapTracks.read(JSON.parse(byId("content").textContent));
  let [texts, matches, chosen, pressed, waiting] = [null, null, -1, null, 0];
  const { map, creditsOf, colourBy, fillColours } = mapView.show(tracks, { onPick: showCard, onColour: forget, legendEntry });

  function line(row, note) {
    const artist = tracks.value("artist", row) || tracks.value("album", row);
    const below = artist ? [make("br"), make("small", { text: artist })] : [];
    const span = make("span", { children: [tracks.title(row), ...below] });
    const button = make("button", { type: "button", children: [span, ...(note ? [make("small", { text: note })] : [])] });
    button.dataset.row = row;
    button.addEventListener("pointerenter", () => map.hover(row));
    button.addEventListener("pointerleave", () => map.hover(-1));
    return button;
  }

  // The selected track

  function showCard(row) {
    const card = byId("card");
    card.hidden = row < 0;
    card.dataset.row = row;
    if (row < 0) return card.replaceChildren();
    const close = make("button", { type: "button", text: "×", title: "Close" });
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => map.pick(-1));
    const tags = tracks.tagsOf(row).map((tag) => {
      const percent = tracks.graded ? ` ${Math.round(tag.strength * 100)} %` : "";
      const button = make("button", { type: "button", text: tag.name + percent, title: `Colour by ${tag.name}` });
      button.addEventListener("click", () => colourBy(`tag ${tag.code}`));
      return button;
    });
    const neighbours = tracks.neighboursOf(row).map((one) => {
      const button = line(one.row, `${(one.percent / 100).toFixed(2)}`);
      button.addEventListener("click", () => goTo(one.row));
      return make("li", { children: [button] });
    });
    card.replaceChildren(
      make("header", { children: [make("h2", { text: tracks.title(row) }), close] }),
      make("p", { text: creditsOf(row) }),
      make("p", { className: "faint", children: [make("small", { text: tracks.id(row) })] }),
      ...player(row),
      make("p", { className: "tags", children: tags }),
      ...(neighbours.length ? [make("h3", { text: "Most similar (cosine)" })] : []),
      make("ul", { id: "neighbours", children: neighbours }),
    );
    card.scrollIntoView({ block: "nearest" });
  }

  function player(row) {
    const src = tracks.audio(row);
    return src ? [make("audio", { controls: true, preload: "none", src })] : [];
  }

  function goTo(row) {
    map.pick(row);
    map.flyTo(row);
  }

  // Legend

  function forget() {
    pressed = null;
    highlight();
  }

  function legendEntry(look) {
    const count = make("small", { text: look.count.toLocaleString() });
    const button = make("button", { type: "button", children: [make("span", { text: look.name }), count] });
    button.setAttribute("aria-pressed", false);
    button.addEventListener("click", () => press(button, look.code));
    return button;
  }

  function press(button, code) {
    pressed = pressed === code ? null : code;
    for (const one of byId("legend").querySelectorAll("button"))
      one.setAttribute("aria-pressed", pressed !== null && one === button);
    highlight();
  }

  function highlight() {
    if (pressed === null) return map.highlight(matches);
    const rows = [];
    for (let i = 0; i < tracks.count; i++) if (map.lookOf(i) === pressed) rows.push(i);
    const found = matches && new Set(matches);
    map.highlight(found ? rows.filter((row) => found.has(row)) : rows);
  }

  // Search

  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

  function prepare() {
    const words = (i) => [tracks.title(i), creditsOf(i), tracks.id(i), ...tracks.tagsOf(i).map((tag) => tag.name)];
    texts ||= Array.from({ length: tracks.count }, (_, i) => plain(words(i).join("\n")));
  }

  function search() {
    waiting = 0;
    prepare();
    const words = plain(byId("search").value).split(/\s+/).filter(Boolean);
    matches = null;
    if (words.length) {
      matches = [];
      for (let i = 0; i < tracks.count; i++) if (words.every((word) => texts[i].includes(word))) matches.push(i);
    }
    chosen = matches && matches.length ? 0 : -1;
    highlight();
    listMatches();
  }

  function listMatches() {
    byId("found").hidden = byId("matches").hidden = !matches;
    byId("search").setAttribute("aria-expanded", Boolean(matches));
    byId("legend").hidden = Boolean(matches);
    const count = matches ? matches.length : 0;
    const more = count > LISTED ? `, showing the first ${LISTED}` : "";
    byId("found").textContent = `${count.toLocaleString()} of ${tracks.count.toLocaleString()} tracks match${more}`;
    map.canvas.dataset.matches = matches ? count : "";
    byId("matches").replaceChildren(...(matches || []).slice(0, LISTED).map((row) => {
      const button = line(row);
      button.tabIndex = -1;
      button.setAttribute("role", "option");
      button.addEventListener("click", () => goTo(row));
      const item = make("li", { children: [button] });
      item.setAttribute("role", "presentation");
      return item;
    }));
    choose(chosen);
  }

  function choose(place) {
    const buttons = byId("matches").querySelectorAll("button");
    chosen = Math.max(-1, Math.min(buttons.length - 1, place));
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", i === chosen);
      button.id = `match-${i}`;
    });
    if (chosen < 0) return byId("search").removeAttribute("aria-activedescendant");
    byId("search").setAttribute("aria-activedescendant", `match-${chosen}`);
    buttons[chosen].scrollIntoView({ block: "nearest" });
  }

  byId("search").addEventListener("focus", () => setTimeout(prepare));
  byId("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(search, tracks.count > 5000 ? WAIT_MS : 0);
  });
  byId("search").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && matches) choose(Math.max(0, chosen + step));
    else if (event.key === "Enter") {
      clearTimeout(waiting);
      if (waiting) search();
      if (chosen >= 0) goTo(matches[chosen]);
    } else if (event.key === "Escape") {
      byId("search").value = "";
      search();
    } else return;
    event.preventDefault();
  });

  fillColours();
  window.enoMap = map; // for tests and scripts
})();
