// The list of events: newest first, with a search, counts and filters.

import { element } from "../dom.js";
import { count } from "../format.js";
import { offerToIgnore } from "./actions.js";
import { asQuery, eventFilters, filterOf, withQuery } from "./filters.js";
import { button, clockTime, code, eventPath, link, plural, quiet, row, state, table, tenantLink } from "./parts.js";
import { get } from "./session.js";

const PAGE = 50;
const COUNTED = 10_000; // milliseconds that counts are shown for, since counting reads every event
const MOST_CHANGED = 1000; // events that one action may change
const TONES = { applied: "good", ignored: "none", due: "accent", leased: "accent", parked: "wait", dead: "bad" };
const NAMES = { applied: "Applied", ignored: "Ignored", due: "Due", leased: "Due", parked: "Parked", dead: "Dead" };

export const statusOf = ({ status, effect }) =>
  state(effect === "stale" ? "none" : (TONES[status] ?? "none"), NAMES[status] ?? status);

const COLUMNS = [
  ["Received", "second-right"],
  ["Type"],
  ["Tenant"],
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
      link(eventPath(event.event_id), code(event.type)),
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

let counted = { key: "", at: 0, answer: null };

/** Count events by status and by reason, without the filter's own status and reason. */
async function counts(filter, signal) {
  const { status: _status, reason: _reason, ...rest } = asQuery(filter);
  const key = JSON.stringify(rest);
  if (counted.key === key && Date.now() - counted.at < COUNTED) return counted.answer;
  const since = rest.since ?? new Date(0).toISOString();
  const { groups } = await get("/events/counts", { ...rest, since, by: "reason" }, signal);
  const statuses = Object.fromEntries(Object.keys(TONES).map((status) => [status, 0]));
  for (const group of groups) {
    for (const status of Object.keys(TONES)) statuses[status] += group[status] ?? 0;
  }
  statuses.due += statuses.leased;
  counted = { key, at: Date.now(), answer: { statuses, groups } };
  return counted.answer;
}

/** Return the reasons of events with a status, or of all events. */
function reasonsOf({ groups }, status) {
  const named = groups
    .map(({ name }) => name.split(": "))
    .filter(([of, reason]) => reason && (!status || of === status));
  return named.map(([, reason]) => reason);
}

export async function eventsView(page) {
  const filter = filterOf(page.query);
  const before = page.query.get("before");
  const [{ events, next_before }, found] = await Promise.all([
    get("/events", { ...asQuery(filter), before, limit: PAGE }, page.signal),
    counts(filter, page.signal),
  ]);
  const matching = matches(found, page.query);
  const heading = element("div", "title", element("h1", "", "Events"), actions(page, filter, matching));
  const list = element(
    "div",
    "",
    eventFilters(page, { counts: found.statuses, reasons: reasonsOf(found, page.query.get("status")) }),
    events.length === 0 ? nothing(page) : eventTable(events),
    foot(page, events.length, matching, next_before),
  );
  return { title: "Events", content: [heading, list], live: (name) => before === null && CHANGES.includes(name) };
}

const CHANGES = ["event", "overflow", "counts"];

/** Return the number of events that match all filters, as far as the counts say it. */
function matches({ statuses, groups }, query) {
  const [status, reason] = [query.get("status"), query.get("reason")];
  if (reason !== null) {
    const named = groups.filter(
      ({ name }) => name.endsWith(`: ${reason}`) && (!status || name.startsWith(`${status}: `)),
    );
    return named.reduce((sum, { total }) => sum + total, 0);
  }
  if (status !== null) return statuses[status] ?? 0;
  return Object.entries(statuses).reduce((sum, [name, number]) => sum + (name === "leased" ? 0 : number), 0);
}

function actions(page, filter, matching) {
  const narrowed = ["q", "status", "reason"].some((name) => page.query.has(name));
  const made = element("div", "buttons");
  if (!narrowed || matching === 0 || matching > MOST_CHANGED) return made;
  const unfinished = ["dead", "parked", "due"].includes(page.query.get("status"));
  const ignore = () => offerToIgnore(filter, matching, page.again);
  if (unfinished) made.append(button("Ignore…", ignore));
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
  const text =
    before === null ? `${count(shown)} of ${count(matching)} ${plural(matching, "event")}` : "Earlier events";
  if (shown > 0) made.append(element("span", "", text));
  const buttons = element("div", "buttons");
  if (before !== null) buttons.append(link(`${page.path}${withQuery(page.query, {})}`, "Newest", "button"));
  if (next !== null) {
    const older = withQuery(page.query, {});
    buttons.append(link(`${page.path}${older === "" ? "?" : `${older}&`}before=${next}`, "Older", "button"));
  }
  made.append(buttons);
  return made;
}
