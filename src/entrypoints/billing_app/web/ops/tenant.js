// One tenant: its access and the cause, the timeline that led to it, its state, links and grants.

import { element, foreign, toStripe } from "../dom.js";
import { count, label, money } from "../format.js";
import { offerToGrant, offerToLink, offerToMove, offerToRevoke, offerToUnlink } from "./actions.js";
import { code, eventPath, link, pairs, panel, plural, quiet, section, state, when } from "./parts.js";
import { button, choice } from "./parts.js";
import { get } from "./session.js";
import { day, stamp } from "./times.js";
import { timeline } from "./timeline.js";
import { accessName, accessTone, becauseOf } from "./words.js";

const PAGE = 50;

export async function tenantView(page, id) {
  const path = `/tenants/${encodeURIComponent(id)}`;
  const [tenant, history] = await Promise.all([
    get(path, {}, page.signal),
    get(`${path}/timeline`, asked(page), page.signal),
  ]);
  const title = element(
    "div",
    "title",
    element("p", "", link("/ops/tenants", "Tenants")),
    element("h1", "", foreign(tenant.tenant_id)),
    buttons(page, tenant),
  );
  const main = element("div", "", element("p", "sum", ...verdict(tenant)), ...attention(tenant), why(page, history));
  const beside = element(
    "div",
    "",
    ...tenant.subscriptions.map((each, place) => subscriptionPanel(each, place, tenant)),
    ...(tenant.invoices.length === 0 ? [] : [invoicesPanel(tenant)]),
    customersPanel(page, tenant),
    grantsPanel(page, tenant),
    ...(tenant.decisions.length === 0 ? [] : [decisionsPanel(tenant)]),
  );
  const concerns = (name, data) => name === "event" && data.tenant_id === tenant.tenant_id;
  return { title: tenant.tenant_id, content: [title, element("div", "split", main, beside)], live: concerns };
}

const asked = ({ query }) => ({ limit: PAGE, until: query.get("until") });

function buttons(page, { tenant_id }) {
  return element(
    "div",
    "buttons",
    button("Link a customer…", () => offerToLink({ tenant: tenant_id }, page.again)),
    button("Grant access…", () => offerToGrant(tenant_id, page.again)),
    link(`/ops/replay?q=${encodeURIComponent(`tenant:${tenant_id}`)}&since=all`, "Replay…", "button"),
  );
}

function verdict({ access, access_without_grants: without }) {
  const until = access.until ? ` until ${day(access.until)}` : "";
  const parts = [state(accessTone(access), `${accessName(access)} access`), `${until}: `, becauseOf(access), "."];
  if (without.state === access.state && without.reason === access.reason) return parts;
  return [...parts, ` Without grants: ${accessName(without).toLowerCase()}, `, becauseOf(without), "."];
}

function attention({ tenant_id, attention: found }) {
  if (!found.needed) return [];
  const list = element("ul", "");
  const { dead_events: dead, uncertain } = found;
  if (dead > 0) {
    const path = `/ops/events?q=${encodeURIComponent(`tenant:${tenant_id}`)}&status=dead&since=all`;
    const text = `${count(dead)} ${plural(dead, "event is", "events are")} dead`;
    list.append(element("li", "", state("bad", link(path, text))));
  }
  for (const { kind, object_id, complete } of uncertain) {
    const text = complete ? " may be out of date until it is read from Stripe" : " is known in part";
    list.append(element("li", "", state("wait", label(kind)), " ", code(object_id), text));
  }
  return [section("attention", "Needs attention", [], list)];
}

function why(page, { timeline: entries, earlier_events }) {
  const all = page.query.get("show") === "all";
  const show = (value) => {
    const changed = new URLSearchParams(page.query);
    if (value === "") changed.delete("show");
    else changed.set("show", value);
    page.go(`${page.path}${changed.size === 0 ? "" : `?${changed}`}`, { replace: true });
  };
  const options = [
    ["", "What changed it"],
    ["all", "Every event"],
  ];
  const kinds = choice("show", "Show", options, all ? "all" : "", show);
  const foot = element("div", "foot");
  const oldest = entries.find((each) => each.event !== null)?.event.received_at;
  const query = new URLSearchParams(page.query);
  if (oldest) query.set("until", oldest);
  if (page.query.has("until")) foot.append(link(page.path, "Latest", "button"));
  if (earlier_events && oldest) foot.append(link(`${page.path}?${query}`, "Earlier", "button"));
  return section("why", "Why it is so", kinds, timeline(entries, { all }), foot);
}

// --- beside it -------------------------------------------------------------------------------------------------------

const SUBSCRIPTION_TONES = { active: "good", trialing: "good", past_due: "wait", paused: "wait", incomplete: "wait" };

function subscriptionPanel(each, place, { sequence }) {
  const seats = each.seat_count === null ? null : ["Seats", count(each.seat_count)];
  const ends = each.current_period_end === null ? null : ["Period ends", when(each.current_period_end, day)];
  const facts = pairs([
    ["Subscription", dashboard(each, code(each.subscription_id))],
    ["Plan", each.plan_code === null ? quiet("unknown") : foreign(each.plan_code)],
    ["Status", state(SUBSCRIPTION_TONES[each.status] ?? "bad", label(each.status))],
    seats,
    ends,
    each.rests_on.length === 0 ? null : ["Rests on", ...each.rests_on.map((id) => link(eventPath(id), code(id)))],
    each.observed_at === null ? null : ["As of", when(each.observed_at)],
  ]);
  const beside = place === 0 ? quiet(`at message ${count(sequence)}`) : [];
  return panel(`subscription-${place}`, "Subscription", beside, facts);
}

const dashboard = ({ dashboard_url }, content) => toStripe(content, dashboard_url);

function invoicesPanel({ invoices }) {
  const rows = invoices.map((each) => {
    const name = dashboard(each, foreign(each.number ?? each.invoice_id));
    const next = each.next_payment_attempt_at ? `next attempt ${stamp(each.next_payment_attempt_at)}` : null;
    const due = each.due_at ? `due ${day(each.due_at)}` : null;
    const note = next ?? due;
    const left = each.amount_remaining > 0 ? `, ${money(each.amount_remaining, each.currency)} to pay` : "";
    const below = note === null ? [] : [element("span", "below", note)];
    return [name, `${label(each.status)}, ${money(each.total, each.currency)}${left}`, ...below];
  });
  return panel("invoices", "Invoices", [], pairs(rows));
}

function customersPanel(page, { tenant_id, customers }) {
  if (customers.length === 0) {
    return panel("customers", "Linked customers", [], element("p", "quiet", "No customer is linked to this tenant."));
  }
  const rows = customers.map((each) => [
    dashboard(each, code(each.customer_id)),
    each.deleted ? quiet("deleted in Stripe ") : "",
    button("Move…", () => offerToMove(each.customer_id, page.again), "link"),
    " ",
    button("Unlink…", () => offerToUnlink(each.customer_id, tenant_id, page.again), "link danger"),
  ]);
  return panel("customers", "Linked customers", [], pairs(rows));
}

function grantsPanel(page, { grants }) {
  if (grants.length === 0)
    return panel("grants", "Grants", [], element("p", "quiet", "No access was granted by hand."));
  const rows = grants.map((each) => {
    const reason = element("span", "below", foreign(each.actor), ": ", foreign(each.reason));
    const end = button("End now…", () => offerToRevoke(each, page.again), "link danger");
    return [foreign(each.plan_code), ...grantSpan(each), reason, ...(each.holds ? [end] : [])];
  });
  return panel("grants", "Grants", [], pairs(rows));
}

function grantSpan({ granted_at, until, revoked_at, revoked_by }) {
  const from = `from ${day(granted_at)}`;
  if (revoked_at !== null)
    return [`${from}, ended ${day(revoked_at)}`, ...(revoked_by ? [" by ", foreign(revoked_by)] : [])];
  return [until === null ? `${from}, no end` : `${from} until ${day(until)}`];
}

function decisionsPanel({ decisions }) {
  const rows = decisions.map((each) => {
    const from = each.from_tenant === null ? [] : [" from ", foreign(each.from_tenant)];
    const to = each.to_tenant === null ? [] : [" to ", foreign(each.to_tenant)];
    const cause = each.reason === null ? [] : [": ", foreign(each.reason)];
    const by = element("span", "below", foreign(each.actor), ...cause);
    return [when(each.made_at, day), `${label(each.action)} `, code(each.object_id), ...from, ...to, by];
  });
  return panel("decisions", "Decisions", [], pairs(rows));
}
