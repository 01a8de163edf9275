// What a message says to a reader, from its data, in the reader's language.

import { label } from "../format.js";
import { planName } from "./subscriptions.js";

/** Return the title of a message by its type. */
export const titleOf = ({ event_type }, { words }) => words.events[event_type] ?? label(event_type);

/** Return what happened, from the sections of a message; its summary where there is none that says it. */
export function textOf(message, view) {
  const say = SAYING[message.event_type] ?? SAYING[message.event_type.split(".")[0]];
  const said = say?.(message, view).filter(Boolean) ?? [];
  return said.length === 0 ? message.summary : `${said.join(", ")}.`;
}

const SAYING = {
  subscription: ({ subscription }, view) => [plan(subscription, view)],
  "subscription.renewed": ({ subscription, period }, view) => [
    plan(subscription, view),
    period?.end && view.words.says.untilDay(view.formats.day(period.end)),
  ],
  "subscription.trial_ending": ({ subscription }, view) => [
    plan(subscription, view),
    subscription?.trial_ends_at && view.words.says.onDay(view.formats.day(subscription.trial_ends_at)),
  ],
  "subscription.seats_changed": ({ subscription }, { words, formats }) => [
    subscription?.seat_count != null && words.says.seats(formats.count(subscription.seat_count)),
  ],
  "subscription.plan_change_scheduled": ({ subscription }, view) => scheduled(subscription, "plan_change", view),
  "subscription.cancellation_scheduled": ({ subscription }, view) => [
    plan(subscription, view),
    untilEnd(subscription, view),
  ],
  invoice: ({ invoice }, view) => [amount(invoice, invoice?.total, view)],
  "invoice.finalized": ({ invoice }, view) => [amount(invoice, invoice?.amount_due, view), dueOn(invoice, view)],
  "invoice.payment_failed": ({ invoice }, view) => [amount(invoice, invoice?.amount_remaining, view), nextOn(invoice, view)],
  "invoice.overdue": ({ invoice }, view) => [amount(invoice, invoice?.amount_remaining, view), dueOn(invoice, view)],
  // Which part of an invoice was refunded, credited or disputed, its summary says; the invoice's section does not.
  "invoice.refunded": () => [],
  "invoice.credited": () => [],
  "invoice.disputed": () => [],
  "invoice.dispute_closed": () => [],
  "access.changed": ({ access }, { words, formats }) => [
    access.until && access.state !== "blocked"
      ? words.until(words.access[access.state] ?? access.state, formats.day(access.until))
      : (words.access[access.state] ?? access.state),
  ],
};

function plan(subscription, { words, formats, plans }) {
  if (!subscription) return null;
  const name = planName(subscription.plan_code, plans) ?? subscription.price_id ?? words.unknownPlan;
  return words.says.plan(name, subscription.seat_count > 1 ? formats.count(subscription.seat_count) : null);
}

function scheduled(subscription, kind, { words, formats, plans }) {
  const change = subscription?.scheduled_changes.find((each) => each.kind === kind);
  if (!change) return [];
  const name = planName(change.plan_code, plans) ?? change.price_id ?? words.unknownPlan;
  const seats = change.quantity > 1 ? formats.count(change.quantity) : null;
  return [words.says.plan(name, seats), change.effective_at && words.says.onDay(formats.day(change.effective_at))];
}

function untilEnd(subscription, { words, formats }) {
  const end = subscription?.cancel_at ?? subscription?.current_period_end;
  return end && words.says.untilDay(formats.day(end));
}

function amount(invoice, minor, { words, formats }) {
  if (!invoice || minor == null) return null;
  return words.says.amount(invoice.number ?? invoice.invoice_id, formats.money(minor, invoice.currency));
}

const dueOn = (invoice, { words, formats }) => invoice?.due_at && words.says.due(formats.day(invoice.due_at));

const nextOn = (invoice, { words, formats }) =>
  invoice?.next_payment_attempt_at && words.says.nextAttempt(formats.day(invoice.next_payment_attempt_at));
