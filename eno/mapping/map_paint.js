/* Paints many small marks directly into pixels, which is much faster than the canvas API without a graphics card. */
"use strict";

const mapPaint = (() => {
  const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

  /* Return the pixels of a disc or ring, antialiased by the distance from the edge. */
  function makeStamp({ colour, ring }, radius, opacity) {
    const side = Math.ceil(2 * radius + 2);
    const hole = ring ? radius - Math.max(1, radius * 0.55) : -1;
    const marked = [];
    for (let row = 0; row < side; row++)
      for (let column = 0; column < side; column++) {
        const distance = Math.hypot(row - (side - 1) / 2, column - (side - 1) / 2);
        const cover = Math.max(0, Math.min(1, radius + 0.5 - distance, distance - hole + 0.5));
        if (cover > 0) marked.push({ row, column, weight: Math.round(256 * cover * opacity) });
      }
    const [red, green, blue] = channels(colour);
    return { side, marked, redBlue: (blue << 16) | red, green: green << 8 };
  }

  /* With a `margin` in pixels around the canvas, marks at the edge need no clipping. */
  function makePainter(pen, margin) {
    const { width, height } = pen.canvas;
    const stride = width + 2 * margin;
    const frame = new ImageData(stride, height + 2 * margin);
    const pixels = new Uint32Array(frame.data.buffer); // red is the lowest byte
    return {
      clear(colour) {
        const [red, green, blue] = channels(colour);
        pixels.fill(((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0);
      },
      stamp(look, radius, opacity) {
        const { side, marked, redBlue, green } = makeStamp(look, radius, opacity);
        const at = Int32Array.from(marked, ({ row, column }) => row * stride + column);
        return { side, at, weights: Int32Array.from(marked, ({ weight }) => weight), redBlue, green };
      },
      /* x and y: upper left corner of the stamp on the canvas. */
      print({ at, weights, redBlue, green }, x, y) {
        const start = (y + margin) * stride + x + margin;
        for (let i = 0; i < at.length; i++) {
          const below = pixels[start + at[i]];
          const weight = weights[i];
          const rest = 256 - weight;
          pixels[start + at[i]] = 0xff000000
            | (((Math.imul(redBlue, weight) + Math.imul(below & 0xff00ff, rest)) >>> 8) & 0xff00ff)
            | (((Math.imul(green, weight) + Math.imul(below & 0xff00, rest)) >>> 8) & 0xff00);
        }
      },
      show: () => pen.putImageData(frame, -margin, -margin),
    };
  }

  return { makePainter };
})();
