// The dates of a subscription in equal steps: every label stands under its own dot, however near two dates are.

import { element, svg, timeOf } from "../dom.js";

const DAY = 86_400_000;

/** Return the timeline of a subscription, or null if fewer than two of its dates are known. */
export function timelineOf(each, open, { words, formats }) {
  const points = pointsOf(each, open, words);
  if (points.length < 2) return null;
  const now = Date.now();
  const [start, end] = [points[0].at, points.at(-1).at];
  const list = element("ol", "timeline");
  const inside = start <= now && now < end && !each.ended_at;
  const day = inside ? dayOf(now, start, end) : null;
  if (day) list.setAttribute("aria-label", words.thisPeriod(...day.map(formats.count)));
  points.forEach((point, place) => {
    const next = points[place + 1];
    const current = inside && point.at <= now && next !== undefined && now < next.at;
    const item = element("li", "", drawing(point, next, now, current, words), element("b", "", point.text), " ");
    item.append(timeOf(point.instant, formats.day(point.instant), "quiet"));
    list.append(item);
    if (current) list.append(element("li", "today", `${words.points.today}, ${words.dayOf(...day.map(formats.count))}`));
  });
  return list;
}

/** Return the number of today in a period, and the number of its days. */
const dayOf = (now, start, end) => [Math.ceil((now - start) / DAY) || 1, Math.round((end - start) / DAY)];

function pointsOf(each, open, words) {
  const trial = each.status === "trialing";
  const points = [{ text: trial ? words.points.trialBegan : words.points.began, instant: each.current_period_start }];
  if (each.ended_at) points.push({ text: words.points.ended, instant: each.ended_at, bad: true });
  else {
    if (trial) points.push({ text: words.points.trialEnds, instant: each.trial_ends_at });
    if (open?.next_payment_attempt_at) points.push({ text: words.points.attempt, instant: open.next_payment_attempt_at });
    else if (open?.due_at) points.push({ text: words.points.due, instant: open.due_at });
    points.push(lastPoint(each, words));
  }
  const known = points.filter(({ instant }) => instant).map((point) => ({ ...point, at: Date.parse(point.instant) }));
  const seen = new Set();
  return known.sort((a, b) => a.at - b.at).filter(({ at }) => !seen.has(at) && seen.add(at));
}

function lastPoint(each, words) {
  if (each.cancel_at) return { text: words.points.ends, instant: each.cancel_at, bad: true };
  const ending = each.cancel_at_period_end;
  const text = ending ? words.points.ends : each.auto_renew ? words.points.renews : words.points.periodEnds;
  return { text, instant: each.current_period_end, bad: ending };
}

/** Return the dot of a point and the line to the next one, with today on it if it lies between them. */
function drawing(point, next, now, current, words) {
  const made = svg("svg", { "aria-hidden": "true" });
  const line = (share, kind) => svg("line", { x1: 0, y1: 8, x2: `${share * 100}%`, y2: 8, class: kind });
  const passed = next === undefined ? 0 : Math.min(1, Math.max(0, (now - point.at) / (next.at - point.at)));
  if (next !== undefined) made.append(line(1, "ahead"), line(passed, "done"));
  made.append(svg("circle", { class: `dot ${point.at <= now ? "past" : ""} ${point.bad ? "bad" : ""}`, cx: 5, cy: 8, r: 4 }));
  if (current) {
    const [x, anchor] = [`${passed * 100}%`, passed < 0.1 ? "start" : passed > 0.9 ? "end" : "middle"];
    made.append(svg("circle", { class: "now", cx: x, cy: 8, r: 6.5 }));
    made.append(svg("text", { x, y: -4, "text-anchor": anchor }, words.points.today));
  }
  return made;
}
