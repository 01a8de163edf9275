// Small line charts as SVG.

import { svg } from "../dom.js";

const HEIGHT = 20;
const TOP = 2; // room above the highest point

/** Draw numbers, oldest first, as a line above a base; the text is for screen readers. */
export function lineChart(values, text) {
  const width = Math.max(1, values.length - 1);
  const most = Math.max(...values) || 1;
  const y = (value) => (HEIGHT - 0.5 - (value / most) * (HEIGHT - TOP - 0.5)).toFixed(1);
  const path = values.map((value, place) => `${place === 0 ? "M" : "L"}${place} ${y(value)}`).join("");
  const frame = { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, preserveAspectRatio: "none" };
  return svg(
    "svg",
    { ...frame, role: "img", "aria-label": text },
    svg("line", { x1: 0, y1: HEIGHT - 0.5, x2: width, y2: HEIGHT - 0.5 }),
    svg("path", { d: path }),
  );
}
