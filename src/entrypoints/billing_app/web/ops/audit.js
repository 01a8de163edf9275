// The audit log: what operators did, why, and what came of it.

import { element, foreign } from "../dom.js";
import { count, label } from "../format.js";
import { asText } from "./changes.js";
import { withQuery } from "./filters.js";
import { code, eventPath, link, quiet, row, select, table, tenantLink, when } from "./parts.js";
import { get } from "./session.js";

const PAGE = 50;
const ACTIONS = ["replay", "cancel_replay", "ignore", "reveal", "link", "move", "unlink", "grant", "revoke_grant"];
const COLUMNS = [
  ["When", "top-right quiet"],
  ["Action"],
  ["What", "whole"],
  ["Why", "whole quiet"],
  ["Who", "quiet"],
  ["Result", "number"],
];

export async function auditView(page) {
  const { query } = page;
  const [action, actor, before] = ["action", "actor", "before"].map((name) => query.get(name));
  const { audits, next_before } = await get("/audits", { action, actor, before, limit: PAGE }, page.signal);
  const title = element(
    "div",
    "title",
    element("h1", "", "Audit log"),
    element("p", "", "Nothing that changes data goes without a reason."),
  );
  const list = audits.length === 0 ? element("p", "empty", "No entry matches.") : auditTable(audits);
  const content = [title, element("div", "", filters(page), list, foot(page, next_before))];
  return { title: "Audit log", content, live: (name) => before === null && name === "counts" };
}

function filters(page) {
  const choose = (value) => page.go(`${page.path}${withQuery(page.query, { action: value })}`, { replace: true });
  const names = ACTIONS.map((each) => [each, label(each)]);
  const action = select("Action", [["", "Any action"], ...names], page.query.get("action") ?? "", choose);
  const actor = element("input", "");
  Object.assign(actor, {
    type: "search",
    name: "actor",
    value: page.query.get("actor") ?? "",
    placeholder: "Any operator",
  });
  actor.setAttribute("aria-label", "Operator");
  const form = element("form", "filters", actor, action);
  form.setAttribute("role", "search");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    page.go(`${page.path}${withQuery(page.query, { actor: actor.value.trim() })}`, { replace: true });
  });
  return form;
}

export const auditTable = (audits) => table(COLUMNS, audits.map(auditRow));

function auditRow(audit) {
  const { audit_id, action, started_at, why, actor } = audit;
  const made = row(
    COLUMNS,
    [when(started_at), label(action), concerned(audit), foreign(why ?? ""), foreign(actor), resultOf(audit)],
    1,
  );
  made.dataset.key = `audit-${audit_id}`;
  return made;
}

const IDS = /^(evt|cus|sub|in|grant)_/;
const TENANTS = ["tenant", "tenant_id", "from", "to"];
const MOST_NUMBERS = 3;
const MOST = 6; // values shown of one entry

/** Show what an action was about: ids, tenants and codes, in the order of the entry. */
function concerned({ filter }) {
  const shown = [];
  for (const [name, values] of Object.entries(filter)) {
    for (const value of [values].flat()) shown.push(part(name, value));
  }
  const rest = shown.length > MOST ? [quiet(` and ${count(shown.length - MOST)} more`)] : [];
  return element(
    "span",
    "",
    ...shown.slice(0, MOST).flatMap((each, place) => [place === 0 ? "" : ", ", each]),
    ...rest,
  );
}

function part(name, value) {
  const text = asText(value);
  if (TENANTS.includes(name) && text !== "null") return tenantLink(text);
  if (text.startsWith("evt_")) return link(eventPath(value), code(value));
  if (IDS.test(text) || ["status", "reason", "type"].includes(name)) return code(text);
  return element("span", "", `${label(name).toLowerCase()} `, foreign(text));
}

function resultOf({ result, finished_at }) {
  if (result === null) return quiet(finished_at === null ? "not finished" : "");
  const numbers = Object.entries(result).filter(([, value]) => typeof value === "number" && value > 0);
  const ends = result.refused ? [`refused: ${result.refused}`] : result.interrupted ? ["interrupted"] : [];
  const said = numbers.slice(0, MOST_NUMBERS).map(([name, value]) => `${count(value)} ${counted(name, value)}`);
  const words = [...ends, ...said].join(", ");
  return words === "" ? quiet("done") : element("span", ends.length > 0 ? "late" : "", words);
}

/** Return the name of a number: 1 message, 2 messages, 3 reprocessed events. */
const counted = (name, value) => (value === 1 ? name.replace(/s$/, "") : name).replaceAll("_", " ");

function foot(page, next) {
  const buttons = element("div", "buttons");
  if (page.query.has("before")) buttons.append(link(`${page.path}${withQuery(page.query, {})}`, "Newest", "button"));
  if (next !== null) buttons.append(link(`${page.path}${withQuery(page.query, { before: next })}`, "Older", "button"));
  return element("div", "foot", element("span", ""), buttons);
}
