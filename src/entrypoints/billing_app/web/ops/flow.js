// The way of an event in five stages: rates, small charts, delays and what waits.

import { element } from "../dom.js";
import { count } from "../format.js";
import { lineChart } from "./charts.js";
import { when } from "./parts.js";
import { clock, decimal, lengthOf } from "./times.js";

const WAITING = 60; // seconds after which what waits is pointed out
const PARKED = 600;
const NAMES = {
  received: "Received",
  stored: "Stored",
  applied: "Applied",
  published: "Published",
  delivered: "Delivered",
};
const SERIES = { stored: "stored", applied: "applied", published: "messages" };

const UNITS = [
  [1, "/ s"],
  [60, "/ min"],
  [3600, "/ h"],
]; // seconds, the shortest first

export function flow({ stages, window_seconds }, { steps, step_seconds }) {
  return element("ol", "flow", ...stages.map((each) => stage(each, steps, step_seconds, window_seconds)));
}

/** Return the shortest unit by which a rate per second is at least one; per minute if there is nothing. */
function unitOf(rate) {
  return rate === 0 ? UNITS[1] : (UNITS.find(([times]) => rate * times >= 1) ?? UNITS.at(-1));
}

function stage(each, steps, seconds, length) {
  const { name, peak } = each;
  const rate = each.count / length; // what the server rounded may be nothing over a day
  const [times, unit] = unitOf(rate);
  const heading = element("h3", "", NAMES[name] ?? name);
  if (peak !== null) heading.append(element("span", "", `peak ${decimal(peak * times)}`));
  const big = element("p", "big", `${decimal(rate * times)} `, element("span", "", unit));
  const made = element("li", "", heading, big);
  made.dataset.stage = name;
  const series = SERIES[name];
  if (series && steps.length > 1) {
    const values = steps.map((step) => (step[series] / seconds) * times);
    made.append(lineChart(values, `${NAMES[name]}, at most ${decimal(Math.max(...values))} ${unit}`));
  }
  const list = element("dl", "");
  for (const [term, ...value] of rows(each)) list.append(element("dt", "", term), element("dd", "", ...value));
  if (list.childElementCount > 0) made.append(list);
  return made;
}

function* rows({ name, p95_seconds, waiting, oldest_seconds, details }) {
  if (name === "received") {
    if (p95_seconds !== null) yield ["p95 from Stripe", lengthOf(p95_seconds)];
    yield* received(details);
  } else if (p95_seconds !== null) yield ["p95", `+${lengthOf(p95_seconds)}`];
  const waits = { stored: "waiting", applied: "parked" }[name] ?? "outbox";
  if (waiting !== null) yield [waits, count(waiting)];
  if (details.open_streams !== undefined) yield ["streams here", count(details.open_streams)];
  if (oldest_seconds === null) return;
  const isLate = oldest_seconds > (name === "applied" ? PARKED : WAITING);
  yield ["oldest", oldest_seconds === 0 ? "–" : late(lengthOf(oldest_seconds), isLate)];
}

function* received({ refused_last_hour: refused = null, duplicates = null, last_received_at: last = null }) {
  if (refused !== null) yield ["refused, last hour", count(refused)];
  if (duplicates !== null) yield ["duplicates", count(duplicates)];
  if (last !== null) yield ["last", when(last, clock)];
}

const late = (text, isLate) => (isLate ? element("span", "late", text) : text);
