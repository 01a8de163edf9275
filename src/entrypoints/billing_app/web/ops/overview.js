// The overview: one sentence that says how things are, the way of an event, and what needs attention.

import { element, foreign, meter } from "../dom.js";
import { count } from "../format.js";
import { auditTable } from "./audit.js";
import { budget } from "./budget.js";
import { eventTable } from "./events.js";
import { flow } from "./flow.js";
import { choice, link, pairs, plural, quiet, section, state, when } from "./parts.js";
import { withQuery } from "./filters.js";
import { get } from "./session.js";
import { clock, lengthOf } from "./times.js";

const EVENTS = 10;
const ACTIONS = 5;
const WAITING = 60; // seconds that a due event may wait before it is pointed out
const PAUSES = { "5m": 2000, "1h": 5000, "24h": 30_000 }; // milliseconds: a longer window reads more
const WINDOWS = [
  ["5m", "5 min"],
  ["1h", "1 hour"],
  ["24h", "24 hours"],
];

export async function overviewView(page) {
  const window = page.query.get("window") ?? "1h";
  const [overview, series, { events }, { audits }] = await Promise.all([
    get("/overview", { window }, page.signal),
    get("/series", { window }, page.signal),
    get("/events", { limit: EVENTS }, page.signal),
    get("/audits", { limit: ACTIONS }, page.signal),
  ]);
  const choose = (value) =>
    page.go(`/ops${withQuery(page.query, { window: value === "1h" ? null : value })}`, { replace: true });
  const content = [
    element("div", "title", element("h1", "", headline(overview))),
    section(
      "flow",
      "From Stripe to the screen",
      choice("window", "Window", WINDOWS, window, choose),
      flow(overview, series),
      budget(overview),
    ),
    element("div", "beside", dead(overview), stripe(overview), processes(overview), invariants(overview)),
    section(
      "events",
      "Events",
      link("/ops/events", "Show all"),
      listed(events, eventTable, "No event was received yet."),
    ),
    section(
      "audit",
      "Audit log",
      link("/ops/audit", "Show all"),
      listed(audits, auditTable, "No action was recorded yet."),
    ),
  ];
  return { title: "Operations", content, live: (name) => LIVE.includes(name), pause: PAUSES[window] };
}

const LIVE = ["event", "overflow", "counts", "replay"];
const listed = (rows, shown, empty) => (rows.length === 0 ? element("p", "empty", empty) : shown(rows));

/** Return one sentence or several: what flows, then what needs attention. */
export function headline({ headline: numbers, stages, stripe: { state: api }, bus: { state: bus } }) {
  const due = stages.find(({ name }) => name === "stored")?.oldest_seconds ?? 0;
  const dead = numbers.dead === 1 ? "one is dead" : `${count(numbers.dead)} are dead`;
  const problems = [
    numbers.workers === 0 && "no process handles events",
    due > WAITING && `the oldest due event waits for ${lengthOf(due)}`,
    api === "unavailable" && "Stripe’s API is unavailable",
    bus === "unavailable" && "the bus is unavailable",
    numbers.dead > 0 && dead,
    numbers.parked > 0 && `${count(numbers.parked)} ${plural(numbers.parked, "is", "are")} parked`,
    numbers.violations > 0 &&
      `${count(numbers.violations)} ${plural(numbers.violations, "invariant is", "invariants are")} violated`,
  ].filter(Boolean);
  const flowing = numbers.events > 0 ? "Events are flowing." : "No events arrived in this window.";
  if (problems.length === 0) return numbers.events > 0 ? "Everything is applied. Nothing waits for you." : flowing;
  const stuck = numbers.workers === 0 || due > WAITING;
  const text = problems.length === 1 ? problems[0] : `${problems.slice(0, -1).join(", ")} and ${problems.at(-1)}`;
  return `${stuck ? "" : `${flowing} `}${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

// --- what stands beside it -------------------------------------------------------------------------------------------

function dead({ dead: reasons }) {
  const replay = link("/ops/replay?status=dead&since=all", "Replay…");
  if (reasons.length === 0) return section("dead", "Dead, by reason", [], element("p", "quiet", "No event is dead."));
  const most = Math.max(...reasons.map((each) => each.count));
  const rows = [...reasons]
    .sort((a, b) => b.count - a.count)
    .map((each) => {
      const path = `/ops/events?status=dead&reason=${encodeURIComponent(each.reason)}&since=all`;
      return element(
        "li",
        "",
        link(path, foreign(each.reason), "code"),
        meter(each.count / most),
        element("span", "number", count(each.count)),
      );
    });
  return section("dead", "Dead, by reason", replay, element("ul", "bars", ...rows));
}

const REACHABLE = {
  reachable: ["good", "Reachable"],
  unavailable: ["bad", "Unavailable"],
  not_used: ["none", "Not used"],
};

function stripe({ stripe: api, bus, operations_pending: pending }) {
  const error = api.error ? ["error", foreign(api.error)] : null;
  const facts = pairs([
    error,
    ["bus", state(...(REACHABLE[bus.state] ?? ["none", bus.state]))],
    bus.error ? ["error", foreign(bus.error)] : null,
    ["pending operations", pending > 0 ? element("span", "late", count(pending)) : "0"],
  ]);
  return section("stripe", "Stripe API", state(...(REACHABLE[api.state] ?? ["none", api.state])), facts);
}

function processes({ processes: all, headline: { workers }, rules_generation }) {
  const handling = `${count(workers)} ${plural(workers, "handles", "handle")} events`;
  const rows = all.map(({ kind, host, pid, version, silent_seconds: silent }) => {
    const seen = silent > WAITING ? element("span", "late", `silent for ${lengthOf(silent)}`) : version;
    return [kind, foreign(host), ` ${pid}, `, seen];
  });
  const facts = pairs([...rows, ["rules", `generation ${count(rules_generation)}`]]);
  return section("processes", "Processes", state(workers > 0 ? "good" : "bad", handling), facts);
}

function invariants({ invariants: { checked_at, total, violations } }) {
  const holding = `${count(total - violations.length)} of ${count(total)} hold`;
  const rows = violations.map(({ invariant, meaning, remedy, count: number, examples }) => [
    invariant.replaceAll("_", " "),
    element("span", "late", count(number)),
    element("span", "below", `${meaning} ${remedy} `, foreign(examples.join(", "))),
  ]);
  const looked = checked_at === null ? quiet("not yet") : when(checked_at, clock);
  const facts = pairs([["checked", looked], ...rows]);
  return section("invariants", "Invariants", state(violations.length === 0 ? "good" : "bad", holding), facts);
}
