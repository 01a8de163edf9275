// A block per subscription: plan and price, facts, what is scheduled, and the dates of its period.

import { element, foreign, stateOf, timeOf } from "../dom.js";
import { timelineOf } from "./timeline.js";

const GOOD = new Set(["active", "trialing"]);
const ENDED = new Set(["canceled", "incomplete_expired"]);

export const hasEnded = ({ status }) => ENDED.has(status);

/** Return the subscriptions, those that run before ended ones, the latest first. */
export function sorted(subscriptions) {
  const began = (each) => each.current_period_start ?? "";
  return [...subscriptions].sort((a, b) => hasEnded(a) - hasEnded(b) || began(b).localeCompare(began(a)));
}

/**
 * Return the block of a subscription.
 *
 * Beside it: `plans` by code, its `upcoming` invoice if that is known, its open invoice if there is one, the `buttons` of
 * its actions, and `undo`, which returns the button of a scheduled change.
 */
export function subscriptionOf(each, { plans, upcoming, open, buttons, undo }, view) {
  const { words } = view;
  const name = planName(each.plan_code, plans) ?? each.price_id ?? words.unknownPlan;
  const tone = GOOD.has(each.status) ? "good" : ENDED.has(each.status) ? "none" : "bad";
  const status = stateOf(words.status[each.status] ?? each.status, tone);
  const price = priceOf(each, view);
  const head = element("div", "", element("h3", "plan-name", foreign(name, "long"), status), price);
  const block = element("article", "subscription", element("div", "plan", head, buttons ?? null));
  block.append(factsOf(each, upcoming, view), ...scheduledOf(each, plans, undo, view));
  const timeline = timelineOf(each, open, view);
  if (timeline) block.append(timeline);
  return block;
}

/** Return the name of a plan as it is sold; without one its code. */
export const planName = (code, plans) => (code === null ? null : (plans.get(code)?.name ?? code));

/** Return what is billed per interval, seats included; nothing where several prices add up to it. */
function priceOf(each, { words, formats }) {
  const total = totalOf(each);
  if (total === null) return null;
  const interval = words.per(formats.count(each.interval_count ?? 1), each.interval_count ?? 1, each.interval);
  const amount = formats.unitPrice(total, each.currency);
  return element("p", "price", amount, " ", element("span", "", interval));
}

const unitOf = (each) => each.unit_amount_decimal ?? each.unit_amount;

/** Return minor units per interval, or null: prices of several items are not known here. */
export function totalOf(each) {
  const licensed = each.items.filter((item) => item.usage_type !== "metered");
  if (unitOf(each) === null || each.currency === null || each.interval === null || licensed.length !== 1) return null;
  return Number(unitOf(each)) * (licensed[0].quantity ?? 1);
}

function factsOf(each, upcoming, view) {
  const { words, formats } = view;
  const facts = element("dl", "facts");
  const fact = (name, ...value) =>
    facts.append(element("div", "", element("dt", "", name), element("dd", "", ...value)));
  if (each.seat_count !== null) fact(words.seats, formats.count(each.seat_count), eachSeat(each, view));
  if (each.ended_at) fact(words.ended, timeOf(each.ended_at, formats.day(each.ended_at)));
  else if (!hasEnded(each)) fact(words.nextInvoice, ...nextInvoice(each, upcoming, view));
  const method = methodOf(each, view);
  if (method.length > 0 && !hasEnded(each)) fact(words.paymentMethod, ...method);
  if (each.collection_paused) fact(words.collection, words.paused);
  return facts;
}

function eachSeat(each, { words, formats }) {
  if (totalOf(each) === null || each.seat_count === null || each.seat_count < 2) return null;
  return below(words.each(formats.unitPrice(unitOf(each), each.currency)));
}

const below = (...content) => element("span", "below", ...content);

/** Return when the next invoice comes and what it is about; an overdue renewal is shown as such. */
function nextInvoice(each, upcoming, { words, formats }) {
  if (!each.auto_renew || each.cancel_at) return [words.noFurtherInvoice];
  const at = each.status === "trialing" ? (each.trial_ends_at ?? each.current_period_end) : each.current_period_end;
  if (at === null) return ["–"];
  if (Date.parse(at) < Date.now()) return [words.expected(formats.shortDay(at))];
  const day = timeOf(at, formats.day(at));
  if (!upcoming) return [day];
  const total = element("summary", "", words.estimated(formats.money(upcoming.total, upcoming.currency)));
  const lines = upcoming.lines.map(({ description, amount }) =>
    element("tr", "", rowHead(foreign(description ?? "", "long")), number(formats.money(amount, upcoming.currency))),
  );
  const details = element("details", "", total, element("table", "quote", element("tbody", "", ...lines)));
  return [day, details];
}

function rowHead(...content) {
  const made = element("th", "", ...content);
  made.scope = "row";
  return made;
}

const number = (text) => element("td", "number", text);

function methodOf(each, { words }) {
  if (each.collection_method === "send_invoice") return [words.byInvoice];
  const method = each.default_payment_method;
  if (method === null || method === undefined) return [];
  const brand = method.brand ?? method.type;
  if (!brand) return [];
  const name = foreign(brand.charAt(0).toUpperCase() + brand.slice(1));
  if (!method.last4) return [name];
  const expires = method.exp_month ? below(words.expires(String(method.exp_month).padStart(2, "0"), method.exp_year)) : null;
  return [name, ` •••• ${method.last4}`, expires];
}

function scheduledOf(each, plans, undo, { words, formats }) {
  return each.scheduled_changes.map((change) => {
    const day = change.effective_at ? formats.day(change.effective_at) : "";
    return element("div", "scheduled", element("p", "", sentence(each, change, day, plans, words, formats)), undo(change));
  });
}

function sentence(each, change, day, plans, words, formats) {
  const seats = change.quantity === null ? null : formats.count(change.quantity);
  if (change.kind === "cancellation") return words.scheduled.cancellation(day);
  if (change.plan_code === each.plan_code && seats !== null && change.kind === "plan_change") {
    return words.scheduled.seats(day, formats.count(each.seat_count ?? 0), seats);
  }
  const plan = planName(change.plan_code, plans) ?? change.price_id ?? words.unknownPlan;
  if (change.kind === "pending_update") return words.scheduled.pending_update(plan);
  return words.scheduled.plan_change(day, plan, change.quantity > 1 ? seats : null);
}
