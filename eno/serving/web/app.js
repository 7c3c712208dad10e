/* The page: views, search, and tagging of chosen or dropped files. */
"use strict";

(() => {
  const { byId, make, ask, showStatus } = eno;
  const PAGE = 50;
  let [info, tagged] = [null, null];
  let view = new AbortController(); // aborted when another view is requested
  let upload = new AbortController(); // aborted when another file is chosen

  /* Show the view named in the address. A response that arrives after another view was requested is ignored. */
  async function show() {
    view.abort();
    const { signal } = (view = new AbortController());
    const [, name = "", rest = ""] = location.hash.match(/^#\/(\w*)\/?(.*)$/) || [];
    showStatus("");
    if (upload.showProgress) upload.showProgress();
    byId("panel").setAttribute("aria-busy", "true");
    try {
      const draw = await (Object.hasOwn(views, name) ? views[name] : views[""])(rest, signal);
      if (signal.aborted) return;
      draw();
      byId("panel").scrollTop = 0;
      if (name) byId("panel").focus({ preventScroll: true });
    } catch (error) {
      if (!signal.aborted) showStatus(error.message, { problem: true });
    } finally {
      if (!signal.aborted) byId("panel").setAttribute("aria-busy", "false");
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
    async ""(_rest, signal) {
      return info.tracks ? list("", signal, `${info.tracks.toLocaleString()} tracks`) : () => byId("panel").replaceChildren(welcome());
    },
    async name(rest, signal) {
      return list(decoded(rest), signal);
    },
    async text(rest, signal) {
      const text = decoded(rest);
      const found = await ask(`v1/search?k=50&text=${encodeURIComponent(text)}`, { signal });
      return () => {
        fillSearch(text, "text");
        const rows = found.neighbours.map((one) => eno.row(one, { note: one.score.toFixed(2), shared: one.shared }));
        byId("panel").replaceChildren(make("h2", { text: `Tracks for “${text}”` }), make("ul", { className: "rows", children: rows }));
        collectionMap.highlight(found.neighbours.map((one) => one.track_id));
      };
    },
    async track(rest, signal) {
      const id = decoded(rest);
      await trackView.sent(id);
      const [track, found] = await Promise.all([
        ask(eno.address(id), { signal }),
        ask(eno.address(id, "/similar?k=10"), { signal }).catch((error) => ({ neighbours: [], notes: [error.message] })),
      ]);
      return () => {
        trackView.showTrack(track, found, signal);
        collectionMap.highlight(null);
        collectionMap.pick(id);
        document.title = `${eno.titleOf(track)} – eno`;
      };
    },
    async review(_rest, signal) {
      return reviewView.load(signal);
    },
    async file(rest, signal) {
      const kept = tagged;
      if (!kept) return views[""](rest, signal);
      return () => {
        trackView.showFile(kept.file, kept.found);
        collectionMap.highlight(null);
        collectionMap.pick("");
        document.title = `${kept.file.name} – eno`;
      };
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

  async function list(words, signal, heading = "") {
    const found = await ask(page(words, 0), { signal });
    return () => {
      fillSearch(words, "name");
      const rows = make("ul", { id: "found", className: "rows" });
      const more = make("button", { type: "button", className: "more", text: "More" });
      const add = ({ tracks, offset, total }) => {
        rows.append(...tracks.map((track) => eno.row(track)));
        more.hidden = offset + tracks.length >= total;
        more.onclick = () => {
          more.disabled = true;
          ask(page(words, offset + tracks.length), { signal })
            .then(add, (error) => signal.aborted || showStatus(error.message, { problem: true }))
            .finally(() => (more.disabled = false));
        };
      };
      add(found);
      const title = heading || `${found.total.toLocaleString()} track${found.total === 1 ? "" : "s"} for “${words}”`;
      byId("panel").replaceChildren(make("h2", { text: title }), rows, more);
      collectionMap.highlight(words ? found.tracks.map((track) => track.track_id) : null);
      collectionMap.pick("");
    };
  }

  const page = (words, offset) => `v1/tracks?limit=${PAGE}&offset=${offset}&q=${encodeURIComponent(words)}`;

  // Files

  async function tagFile(file) {
    if (!file) return;
    if (file.size > info.max_bytes) return showStatus(`“${file.name}” exceeds the limit of ${Math.round(info.max_bytes / 1e6)} MB.`, { problem: true });
    const form = new FormData();
    form.append("file", file);
    upload.abort();
    const control = (upload = new AbortController());
    const cancel = make("button", { type: "button", text: "Cancel" });
    cancel.addEventListener("click", () => control.abort());
    control.showProgress = () => showStatus(`Analysing “${file.name}” …`, { children: [cancel] });
    control.showProgress();
    const from = view;
    try {
      const options = { method: "POST", body: form, signal: control.signal };
      const answer = await ask(info.tracks ? "v1/similar?k=10" : "v1/tag", options);
      tagged = info.tracks ? { file: answer.file, found: answer } : { file: answer.files[0], found: null };
      control.showProgress = null;
      if (location.hash === "#/file") show();
      else if (from === view) location.hash = "#/file";
      else showStatus(`“${file.name}” is tagged. `, { children: [make("a", { href: "#/file", text: "Show its tags" })] });
    } catch (error) {
      control.showProgress = null;
      if (control === upload) showStatus(error.name === "AbortError" ? "" : `“${file.name}”: ${error.message}`, { problem: true });
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
  addEventListener("hashchange", () => info && show());
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the part of the address after # names a view
    byId("panel").focus();
  });

  async function start() {
    info = await ask("v1/info");
    byId("how").hidden = !info.text;
    byId("search-form").hidden = !info.tracks;
    byId("choose").hidden = !info.tags && !info.tracks;
    await trackView.loadTags();
    reviewView.count((await ask("v1/review?limit=1")).total);
    await show();
    if (!info.tracks) return;
    const drawing = setTimeout(() => byId("status").textContent || showStatus("Drawing the map …"), 1500);
    await collectionMap.start((id) => (location.hash = eno.link(id))).finally(() => clearTimeout(drawing));
    if (byId("status").textContent === "Drawing the map …") showStatus("");
  }

  /* Start the page, and offer to try again if that fails. */
  function open() {
    start().catch((error) => {
      const again = make("button", { type: "button", text: "Try again" });
      again.addEventListener("click", () => {
        showStatus("");
        open();
      });
      showStatus(`${error.message} `, { problem: true, children: [again] });
    });
  }

  open();
})();
