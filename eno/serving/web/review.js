/* The view of the questions of "eno match": which listed album do these files belong to? */
"use strict";

const reviewView = (() => {
  const { byId, make, ask, showStatus } = eno;

  const plural = (count, word) => `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;

  /* Show in the header how many questions are open. */
  function count(total) {
    byId("review-link").hidden = !total;
    byId("review-link").textContent = plural(total, "question");
  }

  function button(text, question, accepted, item, label) {
    const made = make("button", { type: "button", text });
    made.setAttribute("aria-label", label);
    made.addEventListener("click", async () => {
      const buttons = item.querySelectorAll("button");
      buttons.forEach((one) => (one.disabled = true));
      try {
        await eno.post("v1/review", { folder: question.folder, album: question.album, accepted });
        const next = item.nextElementSibling || item.previousElementSibling;
        item.remove();
        (next ? next.querySelector("button") : byId("panel")).focus();
        count((await ask("v1/review?limit=1")).total);
      } catch (error) {
        buttons.forEach((one) => (one.disabled = false));
        showStatus(error.message, { problem: true });
      }
    });
    return made;
  }

  function row(question) {
    const item = make("li");
    const name = `${question.artist} – ${question.album}`;
    const about = [question.year, question.tracks && plural(Number(question.tracks), "track"), question.folder].filter(Boolean);
    const candidates = question.candidates.map((one) => {
      const text = `${one.artists} – ${one.name} ${one.date ? `(${one.date.slice(0, 4)})` : ""}`;
      const facts = make("div", { children: [
        make("span", { text }), make("br"),
        make("small", { text: `${Math.round(100 * Number(one.score))} % · ${one.file_name} · ${one.reason}` }),
      ] });
      return make("li", { children: [button("Yes", question, one.file_name, item, `Yes, ${name} is ${text}`), facts] });
    });
    const none = button("None of these", question, null, item, `None of these is ${name}`);
    item.append(make("h3", { text: name }), make("small", { text: about.join(" · ") }), make("ul", { className: "rows", children: candidates }), none);
    return item;
  }

  /* Load the questions, and return a function that shows them. */
  async function load(signal) {
    const found = await ask("v1/review?limit=200", { signal });
    return () => {
      count(found.total);
      const heading = make("h2", { text: found.total ? `Which album is this? ${plural(found.total, "question")}` : "No open questions" });
      const note = make("p", { className: "faint", text: "Answers count from the next “eno match” on." });
      byId("panel").replaceChildren(heading, note, make("ul", { id: "questions", children: found.questions.map(row) }));
    };
  }

  return { load, count };
})();
