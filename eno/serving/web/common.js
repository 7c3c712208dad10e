/* Shared by the views: requests to the service, rows of tracks, and the player. */
"use strict";

const eno = (() => {
  const { byId, make, credits } = mapView;

  class Problem extends Error {
    constructor(status, detail) {
      super(detail);
      this.status = status;
    }
  }

  /* Ask the service. Once `options.signal` is aborted, no answer is returned, however late it arrives. */
  async function ask(path, options = {}) {
    let answer;
    try {
      answer = await fetch(path, { credentials: "same-origin", ...options });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "Cannot reach the service.");
    }
    if (answer.status === 401) {
      await askForToken();
      return ask(path, options);
    }
    const body = answer.status === 204 ? null : await answer.json().catch(() => ({}));
    if (options.signal) options.signal.throwIfAborted();
    if (answer.ok) return body;
    throw new Problem(answer.status, body.detail || `The service returned status ${answer.status}.`);
  }

  const post = (path, value) =>
    ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) });

  let asking = null;

  /* Ask the user for the token. All requests that need it wait for the same dialog, and fail if it is cancelled. */
  function askForToken() {
    asking ||= new Promise((done, failed) => {
      byId("token-dialog").showModal();
      byId("token-cancel").onclick = () => byId("token-dialog").close();
      byId("token-dialog").onclose = () => {
        asking = null;
        byId("token").value = byId("token-problem").textContent = "";
        failed(new Problem(401, "This service requires a token.")); // no effect once done
      };
      byId("token-form").onsubmit = async (event) => {
        event.preventDefault();
        const headers = { Authorization: `Bearer ${byId("token").value}` };
        const answer = await fetch("v1/session", { method: "POST", headers }).catch(() => ({ ok: false }));
        if (!byId("token-dialog").open) return;
        if (!answer.ok) {
          byId("token-problem").textContent = answer.status === 401 ? "Wrong token." : "Cannot reach the service.";
          return;
        }
        done();
        byId("token-dialog").close();
      };
    });
    return asking;
  }

  function showStatus(text, { problem = false, children = [] } = {}) {
    byId("status").className = problem ? "problem" : "";
    byId("status").replaceChildren(...(text ? [make("span", { text }), ...children] : []));
  }

  // Tracks

  const address = (id, behind = "") => `v1/tracks/${id.split("/").map(encodeURIComponent).join("/")}${behind}`;
  const link = (id) => `#/track/${encodeURIComponent(id)}`;
  const titleOf = (track) => track.title || track.track_id.replace(/^.*\//, "").replace(/\.[^.#]+(#\d+)?$/, "$1");

  function playButton(track) {
    const button = make("button", { type: "button", className: "play", text: "▶", data: { play: track.track_id } });
    button.setAttribute("aria-label", `Play ${titleOf(track)}`);
    button.addEventListener("click", () => play(track));
    mark(button);
    return button;
  }

  function row(track, { note = "", shared = [] } = {}) {
    const about = [make("a", { href: link(track.track_id), text: titleOf(track) }), make("br"), make("small", { text: credits(track) || track.track_id })];
    if (shared.length) {
      const both = make("div", { className: "shared", title: "Tags in common" });
      both.append(make("small", { text: "shared " }), ...shared.slice(0, 6).map((text) => make("span", { text })));
      about.push(both);
    }
    const children = [playButton(track), make("div", { children: about }), ...(note ? [make("small", { text: note })] : [])];
    return make("li", { children, data: { id: track.track_id } });
  }

  // The player

  let current = null;

  async function play(track) {
    const audio = byId("audio");
    if (current && current.track_id === track.track_id) {
      if (audio.paused) audio.play().catch(() => {});
      else audio.pause();
      return;
    }
    current = track;
    byId("player").hidden = false;
    byId("playing").href = link(track.track_id);
    byId("playing").replaceChildren(titleOf(track), make("small", { text: credits(track) }));
    let part = ""; // of a file, which the browser plays alone (W3C Media Fragments)
    if (/#\d+$/.test(track.track_id)) {
      const { section } = await ask(address(track.track_id)).catch(() => ({}));
      if (current !== track) return;
      if (section) part = `#t=${section.join(",")}`;
    }
    audio.src = address(track.track_id, "/audio") + part;
    audio.play().catch(() => {}); // the error event below reports the reason
  }

  function mark(button) {
    const plays = current !== null && button.dataset.play === current.track_id && !byId("audio").paused;
    button.setAttribute("aria-pressed", plays);
    button.textContent = plays ? "❚❚" : "▶";
  }

  for (const kind of ["play", "pause", "ended", "emptied"])
    byId("audio").addEventListener(kind, () => document.querySelectorAll("[data-play]").forEach(mark));
  // Its request has no dialog for the token, so `ask` finds out why a file cannot be played.
  byId("audio").addEventListener("error", async () => {
    const track = current;
    if (!track) return;
    const problem = await ask(address(track.track_id)).catch((error) => error);
    if (current !== track) return;
    if (problem instanceof Error) showStatus(problem.message, { problem: true });
    else showStatus(`“${titleOf(track)}” cannot be played.`, { problem: true });
  });

  return { byId, make, ask, post, showStatus, address, link, titleOf, credits, playButton, row, Problem };
})();
