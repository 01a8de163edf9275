// One event: what became of it, its attempts, what it changed, its messages and its body.

import { element, foreign, toStripe } from "../dom.js";
import { count } from "../format.js";
import { offerToIgnore, revealBody } from "./actions.js";
import { changeTable } from "./changes.js";
import { outcome, statusOf } from "./events.js";
import { button, clockTime, code, eventPath, link, pairs, panel, plural, quiet, row } from "./parts.js";
import { section, state, table, tenantLink, when } from "./parts.js";
import { get } from "./session.js";
import { lengthOf, moment, secondsBetween } from "./times.js";
import { accessState } from "./words.js";

export async function eventView(page, id) {
  const found = await get(`/events/${encodeURIComponent(id)}`, {}, page.signal);
  const { event, messages } = found;
  const title = element(
    "div",
    "title",
    element("p", "", link("/ops/events", "Events")),
    element("h1", "", foreign(event.type)),
    buttons(page, event),
  );
  const main = element(
    "div",
    "",
    element("p", "sum", ...summary(event, messages)),
    ...attempts(found),
    ...changed(messages),
    ...sent(messages),
    body(event, found.body),
  );
  const split = element("div", "split", main, envelope(found));
  const concerns = (name, data) => name === "overflow" || (name === "event" && data.event_id === event.event_id);
  return { title: event.event_id, content: [title, split], live: concerns };
}

function buttons(page, event) {
  const made = element("div", "buttons");
  const copy = button("Copy id", async () => {
    await navigator.clipboard.writeText(event.event_id);
    copy.textContent = "Copied";
  });
  if (navigator.clipboard) made.append(copy); // browsers offer it over https and on this machine only
  const filter = { ids: [event.event_id] };
  if (!["applied", "ignored"].includes(event.status)) {
    made.append(button("Ignore…", () => offerToIgnore(filter, page.again)));
  }
  made.append(link(`/ops/replay?q=${encodeURIComponent(event.event_id)}&since=all`, "Replay…", "button"));
  return made;
}

const ORDINALS = ["", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"];

/** Return one or two sentences: the status and when, then what came of it. */
function summary(event, messages) {
  const attempt = event.attempts > 1 ? ` in the ${ORDINALS[event.attempts] ?? `${event.attempts}th`} attempt` : "";
  const taken = event.finished_at
    ? `, ${lengthOf(secondsBetween(event.received_at, event.finished_at))} after receipt`
    : "";
  const begun = [statusOf(event), `${attempt}${taken}`];
  const tenants = [...new Set(messages.map((each) => each.tenant_id))];
  if (tenants.length === 0) return [...begun, ": ", outcome(event), "."];
  const fields = messages.reduce((sum, each) => sum + each.changes.length, 0);
  const changes = fields === 0 ? "It caused" : `It changed ${count(fields)} ${plural(fields, "field")} and caused`;
  const sent = `${changes} ${count(messages.length)} ${plural(messages.length, "message")} to `;
  return [...begun, `. ${sent}`, ...tenants.flatMap((each, place) => [place === 0 ? "" : ", ", tenantLink(each)]), "."];
}

// --- attempts --------------------------------------------------------------------------------------------------------

const ATTEMPTS = [["No."], ["At", "top-right"], ["Result"], ["What happened", "whole quiet"]];

function attempts({ event, failed_attempts }) {
  const last = failed_attempts.at(-1)?.attempt;
  const rows = failed_attempts.map((each) => {
    const ended = each.attempt === last && event.status === "dead";
    const result = ended ? state("bad", "Dead") : state("wait", "Retried");
    const cause = each.error === null ? [] : [" ", foreign(each.error)];
    return row(ATTEMPTS, [count(each.attempt), clockTime(each.failed_at), result, [code(each.reason), ...cause]]);
  });
  if (event.finished_at !== null && event.attempts !== last) {
    const at = clockTime(event.finished_at);
    rows.push(row(ATTEMPTS, [count(event.attempts), at, statusOf(event), outcome(event)]));
  }
  if (rows.length === 0) return [];
  const next = ["due", "leased"].includes(event.status) && event.due_at ? ["next ", when(event.due_at)] : [];
  return [section("attempts", "Attempts", quiet(...next), table(ATTEMPTS, rows))];
}

// --- changes and messages --------------------------------------------------------------------------------------------

function changed(messages) {
  const made = messages.filter((each) => each.changes.length > 0);
  return made.map((message, place) => {
    const object = message.object_id === null ? quiet() : quiet(code(message.object_id));
    return section(`changes-${place}`, "What it changed", object, changeTable(message.changes));
  });
}

const MESSAGES = [["No."], ["Type"], ["Summary", "whole"], ["Access from then on"], ["Tenant", "tenant"]];

function sent(messages) {
  if (messages.length === 0) return [];
  const rows = messages.map((each) => {
    const access = accessState(each.access);
    const tenant = tenantLink(each.tenant_id);
    return row(MESSAGES, [count(each.sequence), code(each.event_type), foreign(each.summary), access, tenant]);
  });
  return [section("messages", "Messages", quiet("as sent to the tenant"), table(MESSAGES, rows))];
}

// --- the body --------------------------------------------------------------------------------------------------------

const BODIES = {
  pruned: "The body was deleted when its time was over. Type, hash and outcome are kept.",
  unreadable: "The body is not JSON.",
};

function body(event, found) {
  if (found.state !== "redacted")
    return section("body", "Payload", [], element("p", "quiet", BODIES[found.state] ?? ""));
  const shown = payload(found.content);
  const hint = quiet("Personal data is hidden. Showing it is recorded. ");
  const show = button(
    "Show…",
    () =>
      revealBody(event, (content) => {
        shown.replaceChildren(...payload(content).childNodes);
        hint.replaceChildren("Personal data is shown. This was recorded.");
      }),
    "link",
  );
  hint.append(show);
  return section("body", "Payload", hint, shown);
}

function payload(content) {
  const text = element("code", "");
  text.append(...rendered(content, ""));
  const made = element("pre", "payload", text);
  made.tabIndex = 0;
  made.setAttribute("role", "region");
  made.ariaLabel = "Body of the event";
  return made;
}

/** Yield JSON as text, with a mark for each hidden value. */
function* rendered(value, indent) {
  if (value === null || typeof value !== "object") return yield JSON.stringify(value);
  if (Object.hasOwn(value, "$hidden")) return yield hidden(value.$hidden);
  const list = Array.isArray(value);
  const entries = Object.entries(value);
  const [open, close] = list ? ["[", "]"] : ["{", "}"];
  if (entries.length === 0) return yield `${open}${close}`;
  const deeper = `${indent}  `;
  yield open;
  for (const [place, [name, each]] of entries.entries()) {
    yield `${place === 0 ? "" : ","}\n${deeper}${list ? "" : `${JSON.stringify(name)}: `}`;
    yield* rendered(each, deeper);
  }
  yield `\n${indent}${close}`;
}

function hidden(length) {
  return element("mark", "", length === null ? "hidden" : `hidden, ${count(length)} ${plural(length, "character")}`);
}

// --- the envelope ----------------------------------------------------------------------------------------------------

function envelope({ event, others, dashboard_url, body: { bytes, sha256 } }) {
  const repeated = event.duplicates === 0 ? [] : [element("span", "below", duplicates(event))];
  const facts = pairs([
    ["Event", toStripe(code(event.event_id), dashboard_url)],
    ["Tenant", event.tenant_id === null ? quiet("none yet") : tenantLink(event.tenant_id)],
    event.customer_id === null ? null : ["Customer", code(event.customer_id)],
    event.waits_for === null ? null : ["Waits for", code(event.waits_for)],
    ["Created", when(event.created_at, moment)],
    ["Received", when(event.received_at, moment), ...repeated],
    event.finished_at === null ? null : ["Finished", finished(event)],
    event.api_version === null ? null : ["API version", foreign(event.api_version)],
    ["Mode", event.livemode ? "live" : "test"],
    event.account === null ? null : ["Account", code(event.account)],
    sha256 === null ? null : ["SHA-256", shortened(sha256)],
    bytes === null ? null : ["Body", `${count(bytes)} bytes`],
    ...others.map((other) => [
      "Same id",
      link(eventPath(other.number), other.account ?? (other.livemode ? "live" : "test")),
    ]),
  ]);
  const made = panel("envelope", "Envelope", [], facts);
  return made;
}

function finished({ received_at, finished_at }) {
  const seconds = secondsBetween(received_at, finished_at);
  return element("span", seconds > LATE ? "late" : "", `+${lengthOf(seconds)}`);
}

const LATE = 5; // seconds until an event is finished, above which the length is pointed out

function duplicates({ duplicates: number, last_duplicate_at }) {
  const last = last_duplicate_at === null ? "" : `, last ${moment(last_duplicate_at)}`;
  return `and ${count(number)} ${plural(number, "time")} again${last}`;
}

function shortened(hash) {
  const made = code(`${hash.slice(0, 8)}…${hash.slice(-4)}`);
  made.title = hash;
  return made;
}
