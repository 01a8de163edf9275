// The cards of the Billing Activity page: access, subscriptions, entitlements, invoices and usage, from the sections of
// the state.

import { $, element, foreign, setText } from "./dom.js";
import { count, day, label, money, span } from "./format.js";

const MOST_INVOICES = 12;
const MOST_PERIODS = 6;
const GOOD = ["active", "trialing", "paid"];
const BAD = ["past_due", "unpaid", "uncollectible", "canceled", "incomplete_expired", "void"];
const OVER = ["canceled", "incomplete_expired"];

export function pill(status) {
  const made = element("span", "pill", label(status));
  made.dataset.tone = GOOD.includes(status) ? "good" : BAD.includes(status) ? "bad" : "neutral";
  return made;
}

// --- access ----------------------------------------------------------------------------------------------------------

const ACCESS = { full: "Full access", grace: "Grace period", read_only: "Read only", blocked: "No access" };

export function showAccess(access) {
  $("access").dataset.state = access.state;
  setText($("access-state"), ACCESS[access.state] ?? label(access.state));
  const until = access.until ? ` This applies until ${day(access.until)}.` : "";
  setText($("access-reason"), `${explanation(access.reason)}${until}`);
}

function explanation(reason) {
  return REASONS[reason] ?? `The subscription is ${lower(reason)}.`;
}

const REASONS = {
  no_subscription: "This tenant has no subscription.",
  addon_only: "There are only add-ons, which give no access by themselves.",
  other_status: "The status of the subscription is not known.",
  collection_paused: "Payment collection is paused.",
  past_due_grace_over: "The subscription is past due, and its grace period is over.",
  grace_over: "The grace period is over.",
  scheduled_end_passed: "The subscription was set to end, and this day has passed.",
  trial_overdue: "The trial is over, and nothing has followed it.",
  trial_never_paid: "The first payment after the trial failed.",
  confirmation_overdue: "The first payment was not confirmed in time.",
  disputed: "A payment is disputed.",
  granted: "Access was granted to this tenant.",
  unmapped_price: "The plan of the subscription is not known.",
};

const lower = (status) => label(status).toLowerCase();

// --- subscriptions ---------------------------------------------------------------------------------------------------

/** Show current subscriptions before ended ones, the latest first. */
export function showSubscriptions(subscriptions) {
  const started = (each) => each.current_period_start ?? "";
  const all = [...subscriptions].sort(
    (a, b) => OVER.includes(a.status) - OVER.includes(b.status) || started(b).localeCompare(started(a)),
  );
  $("no-subscription").hidden = all.length > 0;
  setText($("subscriptions-title"), all.length > 1 ? `Subscriptions (${count(all.length)})` : "Subscription");
  $("subscriptions").replaceChildren(...all.map(subscriptionCard));
}

function subscriptionCard(each) {
  const plan = each.plan_code ?? each.price_id ?? "Unknown plan";
  const title = element("h3", "", foreign(plan, "long"), pill(each.status));
  const details = [["Seats", each.seat_count === null ? "–" : count(each.seat_count)]];
  details.push(renewal(each));
  if (each.status === "trialing") details.push(["Trial ends", day(each.trial_ends_at)]);
  if (each.canceled_at && !each.ended_at) details.push(["Cancellation requested", day(each.canceled_at)]);
  if (each.collection_paused) details.push(["Payment collection", "Paused"]);
  const list = element("dl", "details");
  for (const [name, value] of details) {
    list.append(element("div", "", element("dt", "", name), element("dd", "", value)));
  }
  const card = element("article", "subscription", title, list);
  const points = timeline(each);
  if (points.length > 1) card.append(...drawing(points));
  return card;
}

function renewal(each) {
  if (each.ended_at) return ["Ended", day(each.ended_at)];
  if (each.cancel_at) return ["Ends", day(each.cancel_at)];
  if (each.cancel_at_period_end) return ["Ends", day(each.current_period_end)];
  return ["Renews", each.auto_renew ? day(each.current_period_end) : "No"];
}

/** Return the dates of a subscription in order, each with its kind and text. */
function timeline(each) {
  const [name] = renewal(each);
  const points = [["start", "Period started", each.current_period_start]];
  if (each.trial_ends_at && each.status === "trialing") points.push(["trial", "Trial ends", each.trial_ends_at]);
  if (each.ended_at) points.push(["end", "Ended", each.ended_at]);
  else {
    if (each.cancel_at) points.push(["end", "Ends", each.cancel_at]);
    const last = name === "Renews" ? ["renewal", each.auto_renew ? "Renews" : "Period ends"] : ["end", "Ends"];
    if (!each.cancel_at) points.push([...last, each.current_period_end]);
    points.push(["now", "Today", new Date().toISOString()]);
  }
  return points
    .filter(([, , instant]) => instant)
    .map(([kind, text, instant]) => ({ kind, text, instant, at: Date.parse(instant) }))
    .sort((a, b) => a.at - b.at);
}

/** Return a line with a dot per date, to scale and hidden from screen readers, and the same dates as a list. */
function drawing(points) {
  const first = points[0].at;
  const length = Math.max(1, points.at(-1).at - first);
  const share = (point) => `${((point.at - first) / length) * 100}%`;
  const line = element("div", "line");
  line.setAttribute("aria-hidden", "true");
  const passed = element("span", "passed");
  passed.style.width = share(points.find((point) => point.kind === "now") ?? points.at(-1));
  line.append(passed);
  for (const point of points) {
    const dot = element("span", "dot");
    dot.dataset.kind = point.kind;
    dot.style.left = share(point);
    line.append(dot);
  }
  const list = element("ol", "points");
  for (const point of points) {
    const time = element("time", "", day(point.instant));
    time.dateTime = point.instant;
    const item = element("li", "", element("span", "quiet", point.text), " ", time);
    item.dataset.kind = point.kind;
    list.append(item);
  }
  return [line, list];
}

// --- entitlements ----------------------------------------------------------------------------------------------------

const REFUSALS = {
  limit_reached: "limit reached",
  not_included: "not included",
  unknown_feature: "not included",
  access_read_only: "read only",
  access_blocked: "no access",
};

/** Show what the tenant may use, included features first; nothing if no plan lists features. */
export function showEntitlements(features) {
  const all = [...features].sort((a, b) => b.allowed - a.allowed || a.feature.localeCompare(b.feature));
  $("entitlements-card").hidden = all.length === 0;
  $("entitlements").replaceChildren(...all.map(allowance));
}

function allowance(each) {
  const state = each.allowed ? (each.reason === "over_included" ? "over included" : "included") : REFUSALS[each.reason];
  const mark = element("span", "pill", state ?? label(each.reason));
  mark.dataset.tone = each.reason === "included" ? "good" : each.allowed ? "wait" : "neutral";
  const row = element("li", "", element("h3", "", foreign(each.feature, "long")), mark);
  if (each.kind && each.kind !== "switch") row.append(element("span", "quantity", amounts(each)));
  if (each.limit !== null && each.used !== null) row.append(share(each));
  return row;
}

function amounts({ kind, limit, used, remaining, resets_at }) {
  if (limit === null) return used === null ? "no limit" : `${count(used)} used, no limit`;
  if (used === null) return kind === "metered" ? `${count(limit)} included` : `up to ${count(limit)}`;
  const until = resets_at ? ` until ${day(resets_at)}` : "";
  return `${count(remaining)} of ${count(limit)} left${until}`;
}

/** Return the used part of an allowance as a bar, which the amounts beside it say in words. */
function share({ limit, used }) {
  const bar = element("span", "fill");
  bar.style.width = `${limit === 0 ? 100 : Math.min(100, (used / limit) * 100)}%`;
  const track = element("span", "track", bar);
  track.setAttribute("aria-hidden", "true");
  return track;
}

// --- invoices --------------------------------------------------------------------------------------------------------

export function showInvoices(invoices) {
  const newest = (each) => each.period_end ?? each.paid_at ?? each.due_at ?? "";
  const all = [...invoices].sort((a, b) => newest(b).localeCompare(newest(a)));
  $("no-invoices").hidden = all.length > 0;
  $("invoice-table").hidden = all.length === 0;
  $("invoices").replaceChildren(...all.slice(0, MOST_INVOICES).map(invoiceRow));
}

function invoiceRow(each) {
  const name = foreign(each.number ?? each.invoice_id, "long");
  const total = element("td", "number", money(each.total, each.currency));
  if (each.amount_remaining > 0 && each.amount_remaining !== each.total) {
    total.append(element("span", "below", `${money(each.amount_remaining, each.currency)} remaining`));
  }
  return element(
    "tr",
    "",
    element("th", "", linked(name, each.hosted_invoice_url), element("span", "below", dated(each))),
    element("td", "", pill(each.status)),
    total,
  );
}

function dated(each) {
  if (each.paid_at) return `Paid ${day(each.paid_at)}`;
  if (each.next_payment_attempt_at) return `Next attempt ${day(each.next_payment_attempt_at)}`;
  if (each.due_at) return `Due ${day(each.due_at)}`;
  return span(each.period_start, each.period_end);
}

/** Link to Stripe's own pages over https only. */
function linked(content, address) {
  const url = URL.canParse?.(address) ? new URL(address) : null;
  const stripe = url !== null && (url.hostname === "stripe.com" || url.hostname.endsWith(".stripe.com"));
  if (!stripe || url.protocol !== "https:" || url.username !== "" || url.port !== "") return content;
  const link = element("a", "", content);
  link.href = url.href;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  return link;
}

// --- usage -----------------------------------------------------------------------------------------------------------

/** Show a group per feature with a bar per period; the largest period of a feature fills the width. */
export function showUsage(records) {
  const features = new Map();
  for (const record of records) {
    const periods = features.get(record.feature_key) ?? new Map();
    const key = `${record.period_start} ${record.period_end} ${record.currency}`;
    const known = periods.get(key) ?? { ...record, quantity: 0, amount: 0 };
    known.quantity += Number(record.quantity_decimal ?? record.quantity);
    known.amount += record.amount;
    features.set(record.feature_key, periods.set(key, known));
  }
  const all = [...features].sort(([a], [b]) => a.localeCompare(b));
  $("no-usage").hidden = all.length > 0;
  $("usage").replaceChildren(...all.map(([feature, periods]) => featureGroup(feature, [...periods.values()])));
}

function featureGroup(feature, periods) {
  const ended = (period) => period.period_end ?? "";
  const newest = periods.sort((a, b) => ended(b).localeCompare(ended(a))).slice(0, MOST_PERIODS);
  const most = Math.max(1, ...newest.map((period) => period.quantity));
  const rows = newest.map((period) => {
    const bar = element("span", "fill");
    bar.style.width = `${Math.max(0, (period.quantity / most) * 100)}%`;
    const track = element("span", "track", bar);
    track.setAttribute("aria-hidden", "true");
    return element(
      "li",
      "",
      element("span", "period", span(period.period_start, period.period_end), progress(period)),
      element("span", "quantity", count(period.quantity)),
      track,
      element("span", "quiet amount", money(period.amount, period.currency)),
    );
  });
  return element("li", "", element("h3", "", foreign(feature, "long")), element("ul", "periods", ...rows));
}

/** Return the current day of a period that has not ended. */
function progress({ period_start, period_end }) {
  const [start, end, now] = [Date.parse(period_start), Date.parse(period_end), Date.now()];
  if (!(start <= now && now < end)) return "";
  const days = (milliseconds) => Math.ceil(milliseconds / 86_400_000);
  return element("span", "below", `day ${count(days(now - start))} of ${count(days(end - start))}`);
}
