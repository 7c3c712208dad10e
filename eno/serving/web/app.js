/* The page: views, search, and tagging of chosen or dropped files. */
"use strict";

(() => {
  const { byId, make, ask, showStatus } = eno;
  const PAGE = 50;
  let [info, latest, tagged] = [null, 0, null];

  /* Show the view named in the address. A response that arrives after another view was requested is ignored. */
  async function show() {
    const number = ++latest;
    const [, view = "", rest = ""] = location.hash.match(/^#\/(\w*)\/?(.*)$/) || [];
    showStatus("");
    byId("panel").setAttribute("aria-busy", "true");
    try {
      const draw = await (views[view] || views[""])(rest);
      if (number !== latest) return;
      draw();
      byId("panel").scrollTop = 0;
      if (view) byId("panel").focus({ preventScroll: true });
    } catch (error) {
      if (number === latest) showStatus(error.message, { problem: true });
    } finally {
      if (number === latest) byId("panel").setAttribute("aria-busy", "false");
    }
  }

  const decoded = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  };

  const views = {
    async ""() {
      return info.tracks ? list("", `${info.tracks.toLocaleString()} tracks`) : () => byId("panel").replaceChildren(welcome());
    },
    async name(rest) {
      return list(decoded(rest));
    },
    async text(rest) {
      const text = decoded(rest);
      const found = await ask(`/v1/search?k=50&text=${encodeURIComponent(text)}`);
      return () => {
        fillSearch(text, "text");
        const rows = found.neighbours.map((one) => eno.row(one, { note: one.score.toFixed(2), shared: one.shared }));
        byId("panel").replaceChildren(make("h2", { text: `Tracks for “${text}”` }), make("ul", { className: "rows", children: rows }));
        collectionMap.highlight(found.neighbours.map((one) => one.track_id));
      };
    },
    async track(rest) {
      const id = decoded(rest);
      const [track, found] = await Promise.all([
        ask(eno.address(id)),
        ask(eno.address(id, "/similar?k=10")).catch((error) => ({ neighbours: [], notes: [error.message] })),
      ]);
      return () => {
        trackView.showTrack(track, found);
        collectionMap.highlight(null);
        collectionMap.pick(id);
        document.title = `${eno.titleOf(track)} – eno`;
      };
    },
    async file() {
      const kept = tagged;
      return kept ? () => trackView.showFile(kept.file, kept.found) : views[""]();
    },
  };

  function welcome() {
    return make("p", { text: "Drop an audio file here or choose one above to tag it." });
  }

  function fillSearch(text, how) {
    byId("search").value = text;
    if (!byId("how").hidden) byId("how").value = how;
    document.title = text ? `${text} – eno` : "eno";
  }

  async function list(words, heading = "") {
    const found = await ask(page(words, 0));
    return () => {
      fillSearch(words, "name");
      const rows = make("ul", { id: "found", className: "rows" });
      const more = make("button", { type: "button", className: "more", text: "More" });
      const add = ({ tracks, offset, total }) => {
        rows.append(...tracks.map((track) => eno.row(track)));
        more.hidden = offset + tracks.length >= total;
        more.onclick = () => ask(page(words, offset + tracks.length)).then(add, (error) => showStatus(error.message, { problem: true }));
      };
      add(found);
      const title = heading || `${found.total.toLocaleString()} track${found.total === 1 ? "" : "s"} for “${words}”`;
      byId("panel").replaceChildren(make("h2", { text: title }), rows, more);
      collectionMap.highlight(words ? found.tracks.map((track) => track.track_id) : null);
      collectionMap.pick("");
    };
  }

  const page = (words, offset) => `/v1/tracks?limit=${PAGE}&offset=${offset}&q=${encodeURIComponent(words)}`;

  // Files

  async function tagFile(file) {
    if (!file) return;
    if (file.size > info.max_bytes) return showStatus(`“${file.name}” exceeds the limit of ${Math.round(info.max_bytes / 1e6)} MB.`, { problem: true });
    const form = new FormData();
    form.append("file", file);
    const control = new AbortController();
    const cancel = make("button", { type: "button", text: "Cancel" });
    cancel.addEventListener("click", () => control.abort());
    showStatus(`Analysing “${file.name}” …`, { children: [cancel] });
    try {
      const options = { method: "POST", body: form, signal: control.signal };
      const answer = await ask(info.tracks ? "/v1/similar?k=10" : "/v1/tag", options);
      tagged = info.tracks ? { file: answer.file, found: answer } : { file: answer.files[0], found: null };
      document.title = `${file.name} – eno`;
      if (location.hash === "#/file") show();
      else location.hash = "#/file";
    } catch (error) {
      showStatus(error.name === "AbortError" ? "" : error.message, { problem: true });
    }
  }

  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", () => {
    tagFile(byId("file").files[0]);
    byId("file").value = "";
  });
  let inside = 0; // every element under the pointer fires dragenter and dragleave
  const hasFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  addEventListener("dragenter", (event) => hasFiles(event) && (byId("drop").hidden = ++inside === 0));
  addEventListener("dragleave", (event) => hasFiles(event) && (byId("drop").hidden = --inside <= 0));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    inside = 0;
    byId("drop").hidden = true;
    tagFile(event.dataTransfer.files[0]);
  });

  // Search

  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("search").value.trim();
    const how = byId("how").hidden ? "name" : byId("how").value;
    location.hash = text ? `#/${how}/${encodeURIComponent(text)}` : "#/";
  });
  byId("how").addEventListener("change", () => {
    byId("search").placeholder = byId("how").value === "text" ? "Sad piano with rain" : "Title, artist, album";
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    byId("search").focus();
  });
  addEventListener("hashchange", show);

  async function start() {
    info = await ask("/v1/info");
    byId("how").hidden = !info.text;
    byId("search-form").hidden = !info.tracks;
    byId("choose").hidden = !info.tags && !info.tracks;
    await trackView.loadTags();
    await show();
    if (!info.tracks) return;
    const drawing = setTimeout(() => showStatus("Drawing the map …"), 1500);
    const content = await ask("/v1/map").finally(() => clearTimeout(drawing));
    if (byId("status").textContent === "Drawing the map …") showStatus("");
    collectionMap.start(content, (id) => (location.hash = eno.link(id)));
    const [, id] = location.hash.match(/^#\/track\/(.*)$/) || [];
    if (id) collectionMap.pick(decoded(id));
  }

  start().catch((error) => showStatus(error.message, { problem: true }));
})();
