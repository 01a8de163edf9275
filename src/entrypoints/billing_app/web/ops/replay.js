// Replays: choose events, see what would change, give a reason, confirm by the number, and follow the progress.

import { element, foreign } from "../dom.js";
import { count } from "../format.js";
import { differences } from "./changes.js";
import { check, confirmed, labeled, numberField, valuesOf, whyField } from "./dialog.js";
import { DEFAULT_SINCE, SINCE, STATUSES, asBody, faultOf, filterOf } from "./filters.js";
import { button, choice, code, eventPath, link, plural, quiet, row, section, select, state, table } from "./parts.js";
import { tenantLink } from "./parts.js";
import { earlierReplays } from "./replays.js";
import { post } from "./session.js";
import { moment } from "./times.js";
import { accessName } from "./words.js";

const MOST_TENANTS = 50; // shown at first
const RATES = [
  ["50", "50 events / s"],
  ["10", "10 events / s"],
  ["", "No limit"],
];

export async function replayView(page) {
  const fault = faultOf(page.query.get("q") ?? "");
  const found = page.query.size > 0 && fault === "" ? await tried(page) : null;
  const events = found && `${count(found.matched)} ${plural(found.matched, "event")}`;
  const title = element("h1", "", found === null ? "Replay events" : `Replay ${events}`);
  const content = [element("div", "title", title, element("p", "", introduction(found))), chooser(page)];
  if (fault !== "") content.push(element("p", "bad", fault));
  else if (found !== null && found.matched === 0) content.push(element("p", "empty", "No event matches these filters."));
  else if (found !== null) content.push(split(page, found, events));
  content.push(await earlierReplays(page));
  return { title: "Replay", content };
}

/** Return the dry run of a replay, or only its selection where the events are too many for one. */
async function tried(page) {
  const body = { filter: asBody(filterOf(page.query)) };
  try {
    return await post("/replays/dry-run", body, page.signal);
  } catch (error) {
    if (error.code !== "too_many_events") throw error;
    return { ...(await post("/replays/selection", body, page.signal)), counts: null, lost_plans: [] };
  }
}

function introduction(found) {
  if (found === null) return "Choose events. You see what would change before anything does.";
  const { as_of, counts } = found;
  if (counts !== null) return `Nothing has been changed. This is what would happen, tried and rolled back at ${moment(as_of)}.`;
  return "Nothing has been changed. These are too many to try: choose fewer to see what would change.";
}

/** Create the form that chooses events. It changes nothing but the address. */
function chooser(page) {
  const { query } = page;
  const search = element("input", "");
  Object.assign(search, { type: "search", name: "q", value: query.get("q") ?? "", autocomplete: "off" });
  search.placeholder = "Any event, tenant, customer or type";
  search.setAttribute("aria-label", "Search events");
  const reason = element("input", "");
  Object.assign(reason, { type: "text", name: "reason", value: query.get("reason") ?? "", autocomplete: "off" });
  reason.placeholder = "Any reason";
  reason.setAttribute("aria-label", "Reason");
  const standing = query.size === 0 ? "dead" : (query.get("status") ?? "");
  const status = select("Status", [["", "Any status"], ...STATUSES], standing);
  const since = select("Received", SINCE, query.get("since") ?? DEFAULT_SINCE);
  [status.name, since.name] = ["status", "since"];
  const submit = element("button", "", query.size === 0 ? "Show what would change" : "Try again");
  submit.type = "submit";
  const form = element("form", "filters", search, status, reason, since, submit);
  form.ariaLabel = "Which events";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = Object.entries(valuesOf(form)).filter(([, value]) => value !== "");
    const path = `/ops/replay?${new URLSearchParams(given)}`;
    if (path === location.pathname + location.search) page.again();
    else page.go(path);
  });
  return form;
}

function split(page, found, events) {
  if (found.counts === null) return confirmation(page, found, events);
  const main = element("div", "", verdicts(found), whatWouldChange(found));
  return element("div", "split", main, confirmation(page, found, events));
}

function verdicts({ counts, tenants, access_changes }) {
  const rows = [
    ["Would change", counts.changed],
    ["Change nothing", counts.confirmed + counts.stale + counts.ignored],
    ["Still parked", counts.parked, counts.parked > 0 ? "wait" : null],
    ["Still dead", counts.dead, counts.dead > 0 ? "bad" : null],
    ["Not tried", counts.not_confirmed + counts.unfinished + counts.busy + counts.pruned],
    ["Tenants", tenants.filter((each) => each.tenant_id !== null).length],
    ["Messages to tenants", counts.messages],
    ["Access changes", access_changes],
  ];
  const optional = ["Still parked", "Not tried"];
  const list = element("dl", "verdicts");
  for (const [name, number, tone = null] of rows) {
    if (number === 0 && optional.includes(name)) continue;
    const made = element("div", "", element("dt", "", name), element("dd", "", count(number)));
    if (tone !== null) made.dataset.tone = tone;
    list.append(made);
  }
  return list;
}

// --- what would change -----------------------------------------------------------------------------------------------

const COLUMNS = [
  ["Events", "whole"],
  ["Before and after", "whole"],
  ["Messages to the tenant", "whole"],
];
const WHICH = [
  ["", "All"],
  ["access", "Access changes"],
  ["dead", "Still dead"],
];

function whatWouldChange({ tenants, failures }) {
  const shown = element("div", "");
  let which = "";
  const draw = (most) => {
    const wanted = tenants.filter((each) => wants(each, which));
    const rows = wanted.slice(0, most).flatMap(tenantRows);
    const rest = button("Show all", () => draw(wanted.length));
    const foot = element("span", "", `${count(Math.min(most, wanted.length))} of ${count(wanted.length)} tenants`);
    const none = element("p", "empty", "None.");
    const more = wanted.length > most ? [element("div", "foot", foot, rest)] : [];
    shown.replaceChildren(...(rows.length === 0 ? [none] : [table(COLUMNS, rows)]), ...more);
  };
  const kinds = choice("which", "Show", WHICH, "", (value) => {
    which = value;
    draw(MOST_TENANTS);
  });
  draw(MOST_TENANTS);
  const failed = failures.map(({ event_id, reason, error }) => {
    const cause = error === null ? [] : [" ", foreign(error)];
    return element("li", "", link(eventPath(event_id), code(event_id)), " ", code(reason), ...cause);
  });
  const list = failed.length === 0 ? [] : [element("h3", "", "Would fail again"), element("ul", "", ...failed)];
  return section("diff", "What would change", kinds, shown, ...list);
}

function wants({ access, events }, which) {
  if (which === "access") return access.changes;
  return which === "" || events.some(({ decision }) => decision === "dead");
}

function tenantRows({ tenant_id, access, events, differences: found, messages }) {
  const heading = element("th", "whole diff", tenant_id === null ? quiet("No tenant") : tenantLink(tenant_id), " ");
  heading.colSpan = COLUMNS.length;
  heading.scope = "colgroup";
  if (tenant_id !== null) heading.append(accessChange(access));
  const decisions = events.map(({ event_id, decision, reason }) =>
    element(
      "li",
      "",
      decisionState(decision),
      " ",
      link(eventPath(event_id), code(event_id)),
      reason ? quiet(" ", reason) : "",
    ),
  );
  const sent = messages.map(({ sequence, summary }) =>
    element("li", "", `${count(sequence)} `, quiet(foreign(summary))),
  );
  const cells = [
    element("ul", "decisions", ...decisions),
    found.length === 0 ? quiet("no change") : differences(found),
    sent.length === 0 ? quiet("none") : element("ul", "", ...sent),
  ];
  return [element("tr", "group", heading), row(COLUMNS, cells)];
}

const DECISIONS = {
  changed: ["good", "Change"],
  confirmed: ["none", "Confirm"],
  stale: ["none", "Stale"],
  ignored: ["none", "Ignore"],
  parked: ["wait", "Park"],
  dead: ["bad", "Still dead"],
  not_confirmed: ["wait", "Not tried"],
};

const decisionState = (decision) => state(...(DECISIONS[decision] ?? ["none", decision]));

function accessChange({ before, after, changes }) {
  const name = (access) => (access === null ? "none" : accessName(access).toLowerCase());
  if (!changes) return quiet(after === null ? "" : `access stays ${name(after)}`);
  const arrow = element("span", "to", "→");
  arrow.setAttribute("aria-label", "to");
  arrow.setAttribute("role", "img");
  return quiet("access ", element("del", "", name(before)), " ", arrow, " ", element("ins", "", name(after)));
}

// --- confirmation ----------------------------------------------------------------------------------------------------

const AFTERWARDS = "The result may differ from this preview if new events arrive first.";

function confirmation(page, found, events) {
  const rate = select("At most", RATES, RATES[0][0]);
  rate.name = "rate";
  rate.removeAttribute("aria-label");
  const messages = found.counts === null ? "" : `${count(found.counts.messages)} ${plural(found.counts.messages, "message")}. `;
  const submit = element("button", "primary", `Replay ${events}`);
  submit.type = "submit";
  const problem = element("p", "bad");
  problem.setAttribute("role", "alert");
  const heading = element("h2", "", "Run this replay");
  heading.id = "confirm-title";
  const form = element(
    "form",
    "panel confirm",
    heading,
    whyField(),
    labeled(rate, "At most"),
    check("notify", "Notify tenants", { checked: true, hint: `${messages}Off: state is updated without messages.` }),
    ...lostPlans(found),
    numberField(found.matched),
    submit,
    problem,
    ...(found.counts === null ? [] : [element("p", "quiet", AFTERWARDS)]),
  );
  form.setAttribute("aria-labelledby", heading.id);
  const ready = () =>
    confirmed(valuesOf(form), found.matched) && (found.lost_plans.length === 0 || valuesOf(form).force);
  const offer = () => submit.setAttribute("aria-disabled", String(!ready()));
  form.addEventListener("input", offer);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (submit.getAttribute("aria-disabled") === "false") run(page, found, valuesOf(form), { submit, problem, offer });
  });
  offer();
  return form;
}

function lostPlans({ lost_plans: lost }) {
  if (lost.length === 0) return [];
  const plans = lost.map(({ plan_code, subscriptions, tenant_id }) =>
    element(
      "li",
      "",
      foreign(plan_code),
      ` of ${count(subscriptions)} ${plural(subscriptions, "subscription")}, such as `,
      foreign(tenant_id),
    ),
  );
  const text = "These plans are not in the catalog any more. The replay would take them away:";
  return [element("p", "bad", text), element("ul", "", ...plans), check("force", "Replay nevertheless")];
}

async function run(page, { filter, matched, fingerprint }, { why, rate, notify, force = false }, { submit, problem, offer }) {
  problem.textContent = "";
  submit.setAttribute("aria-disabled", "true");
  const limit = rate === "" ? null : Number(rate);
  try {
    await post("/replays", { filter, confirm: matched, fingerprint, why, rate: limit, notify, force });
    page.go("/ops/replay");
  } catch (error) {
    problem.textContent = error.message;
    offer();
  }
}
