// The timeline of a tenant: each event with its decision and messages, newest first.

import { element, foreign } from "../dom.js";
import { count, label } from "../format.js";
import { beforeAndAfter } from "./changes.js";
import { below, code, eventPath, link, when } from "./parts.js";
import { accessName } from "./words.js";
import { day } from "./times.js";

const TONES = { applied: "good", dead: "bad", parked: "wait", due: "wait", leased: "wait" };
const MOST_FIELDS = 4;

/** Show entries given oldest first; without `all`, only those that changed something or did not end well. */
export function timeline(entries, { all }) {
  const shown = entries.filter((each) => all || matters(each)).reverse();
  if (shown.length === 0) return element("p", "empty", "Nothing has changed in this time.");
  return element("ol", "steps", ...shown.map(step));
}

const matters = ({ event, messages }) =>
  messages.length > 0 || ["dead", "parked", "due", "leased"].includes(event?.status);

function step(entry) {
  const { event, decision, messages } = entry;
  const head = element("b", "");
  if (event !== null) head.append(link(eventPath(event.event_id), code(event.type)), " ", foreign(phrase(decision)));
  else head.append(foreign(label(messages[0].event_type)));
  const at = event?.received_at ?? messages[0]?.occurred_at;
  const body = element("div", "", head, ...messages.map(message));
  if (event?.error) body.append(below(foreign(event.error)));
  const made = element(
    "li",
    "",
    ...(at ? [when(at)] : [element("span", "quiet", label(messages[0]?.source.kind))]),
    body,
  );
  made.dataset.tone = event === null || messages.length > 0 ? "good" : (TONES[event.status] ?? "none");
  if (messages.length > 0) made.dataset.tone = toneOf(messages.at(-1).access.state);
  return made;
}

const toneOf = (name) => ({ full: "good", blocked: "bad" })[name] ?? "wait";
const phrase = (decision) => decision.replace(/^applied: /, "");

function message({ sequence, summary, changes, access }) {
  const fields = changes
    .slice(0, MOST_FIELDS)
    .map((each) => element("div", "", code(each.field), " ", beforeAndAfter(each)));
  const more =
    changes.length > MOST_FIELDS ? [element("div", "", `and ${count(changes.length - MOST_FIELDS)} more`)] : [];
  const until = access.until ? ` until ${day(access.until)}` : "";
  const text = `Message ${count(sequence)}, access ${accessName(access).toLowerCase()}${until}`;
  return below(foreign(summary), element("span", "diff", ...fields, ...more), element("span", "below", text));
}
