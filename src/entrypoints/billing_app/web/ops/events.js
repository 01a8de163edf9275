// The list of events: newest first, with a search, counts and filters.

import { element } from "../dom.js";
import { count } from "../format.js";
import { offerToIgnore } from "./actions.js";
import { countAgain, countsOf } from "./counting.js";
import { asQuery, eventFilters, faultOf, filterOf, withQuery } from "./filters.js";
import { button, clockTime, code, eventPath, link, plural, quiet, row, state, table, tenantLink } from "./parts.js";
import { get } from "./session.js";

const PAGE = 50;
const MOST_CHANGED = 1000; // events that one action may change
const TONES = { applied: "good", ignored: "none", due: "accent", leased: "accent", parked: "wait", dead: "bad" };
const NAMES = { applied: "Applied", ignored: "Ignored", due: "Due", leased: "Due", parked: "Parked", dead: "Dead" };

export const statusOf = ({ status, effect }) =>
  state(effect === "stale" ? "none" : (TONES[status] ?? "none"), NAMES[status] ?? status);

const COLUMNS = [
  ["Received", "second-right"],
  ["Type"],
  ["Tenant", "tenant"],
  ["Status", "top-right"],
  ["What became of it", "whole quiet"],
  ["Attempts", "number skip-small"],
  ["Event", "skip-small"],
];

export function eventTable(events) {
  return table(COLUMNS, events.map(eventRow));
}

function eventRow(event) {
  const made = row(
    COLUMNS,
    [
      clockTime(event.received_at),
      link(eventPath(event.number), code(event.type)), // accounts may share Stripe's id
      event.tenant_id === null ? quiet("no tenant yet") : tenantLink(event.tenant_id),
      statusOf(event),
      outcome(event),
      count(event.attempts),
      quiet(code(event.event_id)),
    ],
    1,
  );
  made.dataset.key = event.number;
  return made;
}

/** Return what became of an event: its outcome without the status, which stands beside it, and the cause. */
export function outcome({ outcome, error, sequence }) {
  const text = outcome.replace(/^(applied|ignored|parked|dead): /, "");
  const cause = error ? [": ", element("bdi", "", error)] : [];
  const message = sequence === null ? [] : [`, message ${count(sequence)}`];
  return element("span", "", element("bdi", "", text), ...cause, ...message);
}

export async function eventsView(page) {
  const fault = faultOf(page.query.get("q") ?? "");
  if (fault !== "") return { title: "Events", content: [element("h1", "", "Events"), faulty(page, fault)] };
  const filter = filterOf(page.query);
  const [before, status, reason] = ["before", "status", "reason"].map((name) => page.query.get(name));
  const [{ events, next_before, as_of }, counts] = await Promise.all([
    get("/events", { ...asQuery(filter), before, limit: PAGE }, page.signal),
    countsOf(filter, page.signal),
  ]);
  const matching = counts?.of(status, reason) ?? null;
  const heading = element("div", "title", element("h1", "", "Events"), actions(page, { ...filter, until: as_of }, matching));
  const list = element(
    "div",
    "",
    eventFilters(page, { counts, reasons: counts?.reasons(status) }),
    events.length === 0 ? nothing(page) : eventTable(events),
    foot(page, events.length, matching, next_before),
  );
  return { title: "Events", content: [heading, list], live: (name) => before === null && CHANGES.includes(name) };
}

/** Return the filters with the reason why they find nothing. */
export const faulty = (page, fault) => element("div", "", eventFilters(page), element("p", "bad", fault));

const CHANGES = ["event", "overflow", "counts"];

/** Offer what can be done to all events of a narrow filter. */
function actions(page, filter, matching) {
  const made = element("div", "buttons");
  const narrowed = ["q", "status", "reason"].some((name) => page.query.has(name));
  if (!narrowed || matching === null || matching === 0 || matching > MOST_CHANGED) return made;
  const done = () => {
    countAgain();
    page.again();
  };
  const unfinished = ["dead", "parked", "due"].includes(page.query.get("status"));
  if (unfinished) made.append(button("Ignore…", () => offerToIgnore(filter, done)));
  made.append(link(`/ops/replay${withQuery(page.query, {})}`, "Replay…", "button"));
  return made;
}

function nothing(page) {
  const all = link("/ops/events?since=all", "Show all events");
  const filtered = page.query.size > 0;
  return element("p", "empty", filtered ? "No event matches these filters. " : "No events in the last 24 hours. ", all);
}

function foot(page, shown, matching, next) {
  const made = element("div", "foot");
  const before = page.query.get("before");
  const total = matching === null ? "" : ` of ${count(matching)} ${plural(matching, "event")}`;
  if (shown > 0) made.append(element("span", "", before === null ? `${count(shown)}${total}` : "Earlier events"));
  const buttons = element("div", "buttons");
  if (before !== null) buttons.append(link(`${page.path}${withQuery(page.query, {})}`, "Newest", "button"));
  if (next !== null) buttons.append(link(`${page.path}${withQuery(page.query, { before: next })}`, "Older", "button"));
  made.append(buttons);
  return made;
}
