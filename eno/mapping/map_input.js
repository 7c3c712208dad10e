/* Input on a map: pan, zoom, hover and pick by pointer, wheel, touch and keyboard. */
"use strict";

const mapInput = (() => {
  const [NEAR_PX, NEAR_FINGER_PX, STILL_PX, STEP_PX] = [14, 26, 5, 80];

  function listen(canvas, { at, pan, zoomAt, hover, pick, showAll, stop }) {
    const pressed = new Map();
    let [travelled, apart] = [0, 0];
    const middle = () => [canvas.clientWidth / 2, canvas.clientHeight / 2];
    const spot = (event) => ({ x: event.offsetX, y: event.offsetY });
    const fingers = () => {
      const [a, b] = pressed.values();
      return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      stop();
      if (!pressed.size) travelled = 0;
      pressed.set(event.pointerId, spot(event));
      if (pressed.size === 2) ({ apart } = fingers());
    });
    canvas.addEventListener("pointermove", (event) => {
      const now = spot(event);
      const last = pressed.get(event.pointerId);
      if (!last) return hover(at(now.x, now.y, NEAR_PX));
      const earlier = pressed.size === 2 && fingers();
      pressed.set(event.pointerId, now);
      travelled += Math.hypot(now.x - last.x, now.y - last.y);
      if (earlier) {
        const next = fingers();
        pan(next.x - earlier.x, next.y - earlier.y);
        zoomAt(next.x, next.y, next.apart / (apart || 1));
        apart = next.apart;
      } else if (travelled > STILL_PX) pan(now.x - last.x, now.y - last.y);
    });
    const release = (event) => {
      if (event.type === "pointerup" && pressed.size === 1 && travelled <= STILL_PX)
        pick(at(event.offsetX, event.offsetY, event.pointerType === "mouse" ? NEAR_PX : NEAR_FINGER_PX));
      pressed.delete(event.pointerId);
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => hover(-1));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const turned = event.deltaY * [1, 16, 400][event.deltaMode];
      zoomAt(event.offsetX, event.offsetY, Math.exp(-turned * (event.ctrlKey ? 0.01 : 0.0015)));
    }, { passive: false });
    const keys = {
      ArrowLeft: () => pan(STEP_PX, 0), ArrowRight: () => pan(-STEP_PX, 0),
      ArrowUp: () => pan(0, STEP_PX), ArrowDown: () => pan(0, -STEP_PX),
      "+": () => zoomAt(...middle(), 1.4), "-": () => zoomAt(...middle(), 1 / 1.4),
      0: showAll,
      Enter: () => pick(at(...middle(), canvas.clientWidth + canvas.clientHeight)), Escape: () => pick(-1),
    };
    keys["="] = keys["+"];
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
      event.preventDefault();
      keys[event.key]();
    });
  }

  return { listen };
})();
