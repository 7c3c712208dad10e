/* The view of one track or file: tags with their thresholds, corrections, and similar tracks. */
"use strict";

const trackView = (() => {
  const { byId, make, ask, post, showStatus } = eno;
  const HEADINGS = { genre: "Genres", descriptor: "Descriptors" }; // other families are called as they are
  const headingOf = (family) => HEADINGS[family] || family[0].toUpperCase() + family.slice(1);
  const familiesOf = (tags) => [...new Set([...Object.keys(HEADINGS), ...tags.map((tag) => tag.family).sort()])];
  const percent = (share) => `${Math.round(share * 100)} %`;
  const UNLIKELY_SHOWN = 3; // tags below their thresholds that are shown at first
  const expanded = new Set(); // families with all tags shown
  let vocabulary = [];
  const sending = new Map(); // the corrections on their way, by track

  /* Load the vocabulary for suggestions. */
  async function loadTags() {
    vocabulary = (await ask("v1/tags")).tags;
  }

  function bar(tag) {
    const made = make("div", { className: "bar", title: `threshold ${percent(tag.threshold)}` });
    made.style.setProperty("--probability", tag.probability);
    made.style.setProperty("--threshold", tag.threshold);
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", `${percent(tag.probability)}, threshold ${percent(tag.threshold)}`);
    return made;
  }

  function tagRow(tag, corrected, correct) {
    const name = make("button", { type: "button", className: "name", text: tag.tag, title: `Colour the map by ${tag.tag}` });
    name.addEventListener("click", () => collectionMap.colourByTag(tag.tag));
    const predicted = tag.probability !== undefined;
    const children = [name, predicted ? bar(tag) : make("span"), make("small", { text: predicted ? percent(tag.probability) : "added" })];
    if (correct) {
      const verdicts = [["yes", "✓", tag.named ? "accept" : "add"], ["no", "✗", "reject"]].map(([kind, text, verdict]) => {
        const pressed = corrected === verdict || (kind === "yes" && ["accept", "add"].includes(corrected));
        const button = make("button", { type: "button", className: kind, text, data: { verdict } });
        button.setAttribute("aria-pressed", pressed);
        button.setAttribute("aria-label", `${tag.tag}: ${kind === "yes" ? "correct" : "wrong"}`);
        button.addEventListener("click", () => correct(tag, pressed ? "withdraw" : verdict));
        return button;
      });
      children.push(make("span", { className: "verdict", children: verdicts }));
    }
    const classes = [tag.named && "named", corrected === "reject" && "rejected"].filter(Boolean).join(" ");
    return make("li", { className: classes, children, data: { tag: tag.tag, family: tag.family } });
  }

  /* Lists of tags by family, with buttons for corrections if `correct` is passed. */
  function tagLists(tags, corrections = [], correct = null) {
    const verdicts = new Map(corrections.map((one) => [`${one.family} ${one.tag}`, one.verdict]));
    const listed = new Set(tags.map((tag) => `${tag.family} ${tag.tag}`));
    const added = corrections.filter((one) => !listed.has(`${one.family} ${one.tag}`));
    return familiesOf([...tags, ...added]).flatMap((family) => {
      const rows = [...tags, ...added].filter((tag) => tag.family === family);
      if (!rows.length) return [];
      const verdict = (tag) => verdicts.get(`${tag.family} ${tag.tag}`);
      const others = rows.filter((tag) => !tag.named && !verdict(tag));
      const hidden = new Set(expanded.has(family) ? [] : others.slice(UNLIKELY_SHOWN));
      const items = rows.filter((tag) => !hidden.has(tag)).map((tag) => tagRow(tag, verdict(tag), correct));
      const more = make("button", { type: "button", className: "more", text: `Show ${hidden.size} less likely`, data: { more: family } });
      more.addEventListener("click", () => {
        expanded.add(family);
        more.before(...[...hidden].map((tag) => tagRow(tag, undefined, correct)));
        more.remove();
      });
      const list = make("ul", { className: "tags", children: [...items, ...(hidden.size ? [more] : [])] });
      return [make("h3", { text: headingOf(family) }), list];
    });
  }

  function unfamiliarNote(one) {
    if (typeof one.familiarity !== "number") return [];
    const remark = one.unfamiliar ? "Unfamiliar: unlike the tracks that the predictor was trained on. " : "";
    return [make("p", { className: one.unfamiliar ? "unfamiliar" : "faint", text: `${remark}Familiarity ${percent(one.familiarity)}` })];
  }

  function addForm(correct) {
    const words = make("datalist", { id: "words", children: vocabulary.map((one) => make("option", { value: one.tag })) });
    const input = make("input", { id: "add", placeholder: "Another tag", required: true, maxLength: 200, autocomplete: "off" });
    input.setAttribute("list", "words");
    input.setAttribute("aria-label", "Another tag");
    const families = [...new Set(["descriptor", ...familiesOf(vocabulary)])]; // most words that people add describe
    const options = families.map((value) => make("option", { value, text: value }));
    const family = make("select", { id: "family", children: options });
    family.setAttribute("aria-label", "Kind of tag");
    const plain = (text) => text.trim().toLowerCase();
    input.addEventListener("input", () => {
      const found = vocabulary.find((one) => plain(one.tag) === plain(input.value));
      if (found) family.value = found.family;
      family.disabled = Boolean(found);
    });
    const form = make("form", { id: "add-form", children: [input, words, family, make("button", { text: "Add" })] });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (plain(input.value)) correct({ tag: input.value, family: family.value }, "add");
    });
    return form;
  }

  function neighbourList(found) {
    if (!found) return [];
    const rows = found.neighbours.map((one) => eno.row(one, { note: one.score.toFixed(2), shared: one.shared }));
    const notes = found.notes.map((text) => make("p", { className: "faint", text }));
    return [make("h3", { text: "Similar tracks (cosine)" }), ...notes, make("ul", { id: "neighbours", className: "rows", children: rows })];
  }

  function heading(track, children) {
    return make("div", { className: "title", children: [
      ...children,
      make("div", { children: [make("h2", { text: eno.titleOf(track) }), make("p", { text: eno.credits(track) })] }),
    ] });
  }

  /* Draw the tags of a track below its heading. Corrections are sent one after the other; their answers are drawn only
     as long as the view is open. */
  function drawTags(track, signal) {
    const view = byId("tags");
    const title = eno.titleOf(track);
    const correct = (tag, verdict) => sending.set(track.track_id, sent(track.track_id).then(() => send(tag, verdict)));
    const send = async (tag, verdict) => {
      try {
        await post("v1/feedback", { track_id: track.track_id, tag: tag.tag, family: tag.family, verdict });
        const answer = await ask(eno.address(track.track_id), { signal });
        if (byId("tags") !== view) return;
        const focused = document.activeElement && document.activeElement.closest("[data-tag], #add-form");
        const { verdict: kind } = document.activeElement.dataset;
        const typed = byId("add").value;
        drawTags(Object.assign(track, answer), signal);
        showStatus("");
        if (typed !== tag.tag) byId("add").value = typed;
        if (!focused) return;
        if (!focused.dataset.tag) return byId("add").focus();
        const again = [...byId("tags").querySelectorAll("[data-tag]")].find((one) => one.dataset.tag === focused.dataset.tag);
        const button = again && again.querySelector(`[data-verdict=${kind}]`);
        if (button) button.focus(); // keep the keyboard focus
      } catch (error) {
        // The user should learn that a correction is lost, also in another view.
        if (error.name !== "AbortError") showStatus(`“${title}”, ${tag.tag}: ${error.message}`, { problem: true });
      }
    };
    view.replaceChildren(...unfamiliarNote(track), ...tagLists(track.tags, track.corrections, correct), addForm(correct));
  }

  function showTrack(track, found, signal) {
    const catalogue = [...track.genres, ...track.descriptors, ...Object.values(track.others).flat()];
    const chips = make("p", { className: "chips", children: [make("small", { text: "from the catalogue " })] });
    chips.append(...catalogue.map((text) => make("span", { text })));
    byId("panel").replaceChildren(
      heading(track, track.audio ? [eno.playButton(track)] : []),
      make("p", { children: [make("small", { text: track.track_id })] }),
      ...(catalogue.length ? [chips] : []),
      make("div", { id: "tags" }),
      ...neighbourList(found),
    );
    drawTags(track, signal);
  }

  function showFile(file, found) {
    const seconds = file.duration_s ? `${Math.floor(file.duration_s / 60)}:${String(Math.floor(file.duration_s % 60)).padStart(2, "0")}` : "";
    byId("panel").replaceChildren(
      heading({ track_id: file.name, title: file.name, artist: seconds }, []),
      make("div", { id: "tags", children: [...unfamiliarNote(file), ...tagLists(file.tags)] }),
      ...neighbourList(found),
    );
  }

  /* Wait for the corrections of a track. */
  const sent = (id) => Promise.resolve(sending.get(id));

  return { sent, loadTags, showTrack, showFile };
})();
