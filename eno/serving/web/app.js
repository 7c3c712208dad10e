/* The page: views, search, and files that are chosen or dropped. */
"use strict";

(() => {
  const { part, make, ask, say } = eno;
  const PAGE = 50;
  let [info, asked, tagged] = [null, 0, null];

  /* Show the view in the address. A response that arrives after the view has changed is ignored. */
  async function show() {
    const number = ++asked;
    const [, view = "", rest = ""] = location.hash.match(/^#\/(\w*)\/?(.*)$/) || [];
    say("");
    part("panel").setAttribute("aria-busy", "true");
    try {
      const draw = await (views[view] || views[""])(rest);
      if (number !== asked) return;
      draw();
      part("panel").scrollTop = 0;
      if (view) part("panel").focus({ preventScroll: true });
    } catch (error) {
      if (number === asked) say(error.message, { problem: true });
    } finally {
      if (number === asked) part("panel").setAttribute("aria-busy", "false");
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
      return info.tracks ? list("", `${info.tracks.toLocaleString()} tracks`) : () => part("panel").replaceChildren(welcome());
    },
    async name(rest) {
      return list(decoded(rest));
    },
    async text(rest) {
      const text = decoded(rest);
      const found = await ask(`/v1/search?k=50&text=${encodeURIComponent(text)}`);
      return () => {
        fields(text, "text");
        const rows = found.neighbours.map((one) => eno.row(one, { note: one.score.toFixed(2), shared: one.shared }));
        part("panel").replaceChildren(make("h2", { text: `Tracks for “${text}”` }), make("ul", { className: "rows", children: rows }));
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

  function fields(text, how) {
    part("search").value = text;
    if (!part("how").hidden) part("how").value = how;
    document.title = text ? `${text} – eno` : "eno";
  }

  async function list(words, heading = "") {
    const found = await ask(page(words, 0));
    return () => {
      fields(words, "name");
      const rows = make("ul", { id: "found", className: "rows" });
      const more = make("button", { type: "button", className: "more", text: "More" });
      const add = ({ tracks, offset, total }) => {
        rows.append(...tracks.map((track) => eno.row(track)));
        more.hidden = offset + tracks.length >= total;
        more.onclick = () => ask(page(words, offset + tracks.length)).then(add, (error) => say(error.message, { problem: true }));
      };
      add(found);
      const title = heading || `${found.total.toLocaleString()} track${found.total === 1 ? "" : "s"} for “${words}”`;
      part("panel").replaceChildren(make("h2", { text: title }), rows, more);
      collectionMap.highlight(words ? found.tracks.map((track) => track.track_id) : null);
      collectionMap.pick("");
    };
  }

  const page = (words, offset) => `/v1/tracks?limit=${PAGE}&offset=${offset}&q=${encodeURIComponent(words)}`;

  // Files

  async function take(file) {
    if (!file) return;
    if (file.size > info.max_bytes) return say(`“${file.name}” exceeds the limit of ${Math.round(info.max_bytes / 1e6)} MB.`, { problem: true });
    const form = new FormData();
    form.append("file", file);
    const control = new AbortController();
    const cancel = make("button", { type: "button", text: "Cancel" });
    cancel.addEventListener("click", () => control.abort());
    say(`Analysing “${file.name}” …`, { children: [cancel] });
    try {
      const options = { method: "POST", body: form, signal: control.signal };
      const answer = await ask(info.tracks ? "/v1/similar?k=10" : "/v1/tag", options);
      tagged = info.tracks ? { file: answer.file, found: answer } : { file: answer.files[0], found: null };
      document.title = `${file.name} – eno`;
      if (location.hash === "#/file") show();
      else location.hash = "#/file";
    } catch (error) {
      say(error.name === "AbortError" ? "" : error.message, { problem: true });
    }
  }

  part("choose").addEventListener("click", () => part("file").click());
  part("file").addEventListener("change", () => {
    take(part("file").files[0]);
    part("file").value = "";
  });
  let inside = 0; // every element below the pointer fires dragenter and dragleave
  const holds = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  addEventListener("dragenter", (event) => holds(event) && (part("drop").hidden = ++inside === 0));
  addEventListener("dragleave", (event) => holds(event) && (part("drop").hidden = --inside <= 0));
  addEventListener("dragover", (event) => holds(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    inside = 0;
    part("drop").hidden = true;
    take(event.dataTransfer.files[0]);
  });

  // Search

  part("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = part("search").value.trim();
    const how = part("how").hidden ? "name" : part("how").value;
    location.hash = text ? `#/${how}/${encodeURIComponent(text)}` : "#/";
  });
  part("how").addEventListener("change", () => {
    part("search").placeholder = part("how").value === "text" ? "Sad piano with rain" : "Title, artist, album";
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    part("search").focus();
  });
  addEventListener("hashchange", show);

  async function start() {
    info = await ask("/v1/info");
    part("how").hidden = !info.text;
    part("search-form").hidden = !info.tracks;
    part("choose").hidden = !info.tags && !info.tracks;
    await trackView.loadTags();
    await show();
    if (!info.tracks) return;
    const drawing = setTimeout(() => say("Drawing the map …"), 1500);
    const content = await ask("/v1/map").finally(() => clearTimeout(drawing));
    if (part("status").textContent === "Drawing the map …") say("");
    collectionMap.start(content, (id) => (location.hash = eno.link(id)));
    const [, id] = location.hash.match(/^#\/track\/(.*)$/) || [];
    if (id) collectionMap.pick(decoded(id));
  }

  start().catch((error) => say(error.message, { problem: true }));
})();
