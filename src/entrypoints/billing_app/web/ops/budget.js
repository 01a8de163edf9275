// The latency budget: how much of the target the stages take, one after the other, and what is left.

import { element, svg } from "../dom.js";
import { lengthOf } from "./times.js";

const HEIGHT = 12;
const GAP = 0.1; // percent between two stages
const LABEL = [0.08, 0.85]; // where the label of the mark has room between those of the ends
const FOLLOWED = ["applied", "published", "delivered"]; // the delay of applied includes that of stored

const NOTHING = "No delay was reported in this window. Servers and workers report theirs every ten seconds.";

/** Show the delays from the webhook to the screen beside their target, or say why there are none. */
export function budget({ latency, stages }) {
  const { target_seconds: target, p50_seconds: p50, p95_seconds: p95 } = latency;
  if (p95 === null) return element("p", "budget quiet", NOTHING);
  return element("div", "budget", bar(parts(stages), p95, target), text(stages, { p50, p95, target }));
}

/** Return [stage, seconds] in the order of time. */
function parts(stages) {
  const of = (name) => stages.find((each) => each.name === name)?.p95_seconds ?? 0;
  const stored = Math.min(of("stored"), of("applied"));
  return [["stored", stored], ["applied", of("applied") - stored], ...FOLLOWED.slice(1).map((name) => [name, of(name)])];
}

/** Draw the stages on a scale that ends with the target, or with what exceeds it. */
function bar(taken, p95, target) {
  const whole = Math.max(p95, target);
  const at = (seconds) => `${((seconds / whole) * 100).toFixed(2)}%`;
  const rects = [svg("rect", { class: "room", width: "100%", height: HEIGHT, rx: 2 })];
  let start = 0;
  for (const [stage, seconds] of taken) {
    const width = Math.max(0, (seconds / whole) * 100 - GAP).toFixed(2);
    rects.push(svg("rect", { "data-stage": stage, x: at(start), width: `${width}%`, height: HEIGHT }));
    start += seconds;
  }
  if (p95 > target) rects.push(svg("rect", { class: "over", x: at(target), width: at(p95 - target), height: HEIGHT }));
  const mark = Math.min(p95, target); // the end of what was taken, or the target that was missed
  rects.push(svg("line", { x1: at(mark), y1: -3, x2: at(mark), y2: HEIGHT + 3 }), label(0, 0, "start"));
  if (mark / whole > LABEL[0] && mark / whole < LABEL[1]) rects.push(label(at(mark), lengthOf(mark), "middle"));
  rects.push(label("100%", lengthOf(whole), "end"));
  return svg("svg", { "aria-hidden": "true" }, ...rects);
}

const label = (x, words, anchor) => svg("text", { x, y: 29, "text-anchor": anchor }, String(words));

function text(stages, { p50, p95, target }) {
  const left = target - p95;
  const rest =
    left < 0
      ? element("span", "late", `${lengthOf(-left)} over the target of ${lengthOf(target)}.`)
      : element("span", "quiet", `${lengthOf(left)} of the target of ${lengthOf(target)} are left.`);
  const open = stages.find(({ name }) => name === "delivered")?.p95_seconds != null;
  const end = open ? "to an open stream" : "to the bus; no open stream was written to";
  const said = element("span", "", "From the webhook ", end, ": p95 ", element("b", "", lengthOf(p95)), ". ", rest);
  return element("p", "", said, element("span", "quiet", `p50 ${lengthOf(p50)}`));
}
