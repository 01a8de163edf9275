// The invoices of a tenant, open ones first, with what was refunded of them.

import { element, foreign, stateOf, toStripe } from "../dom.js";

const FIRST = 5;
const QUIET = new Set(["void", "uncollectible"]);

export const isOpen = ({ status }) => status === "open";
export const isOverdue = ({ status, due_at }) => status === "open" && due_at !== null && Date.parse(due_at) < Date.now();

const written = (each) => each.finalized_at ?? each.created_at ?? each.period_end ?? "";

/** Return the invoices, open ones first, each group the newest first. */
export const sorted = (invoices) =>
  [...invoices].sort((a, b) => isOpen(b) - isOpen(a) || written(b).localeCompare(written(a)));

/** Return what is to pay, one text per currency, with the earliest due day; empty if nothing is. */
export function toPayOf(invoices, { words, formats }) {
  const owed = [...invoices].filter((each) => isOpen(each) && each.amount_remaining > 0);
  return [...byCurrency(owed)]
    .map(([currency, each]) => {
      const sum = each.reduce((total, { amount_remaining }) => total + amount_remaining, 0);
      const due = each.map(({ due_at }) => due_at).filter(Boolean).sort()[0];
      return words.toPay(formats.money(sum, currency), due && formats.shortDay(due));
    })
    .join(", ");
}

function byCurrency(owed) {
  const groups = new Map();
  for (const each of owed) groups.set(each.currency, [...(groups.get(each.currency) ?? []), each]);
  return groups;
}

/** Return what is left of the credit, and what it is for. */
export function creditOf({ available, currency }, { words, formats }) {
  const amount = element("b", "", formats.money(available, currency));
  return element("p", "empty", amount, " ", element("span", "quiet", words.creditFor));
}

/** Return the table of invoices. `all` shows more than the newest five; `act` returns the buttons of one. */
export function invoicesOf(invoices, adjustments, { all, act }, view) {
  const rows = sorted(invoices);
  const shown = all ? rows : rows.slice(0, Math.max(FIRST, rows.filter(isOpen).length));
  const [invoice, status, total, actions] = view.words.columns;
  const head = [column(invoice), column(status), column(total, "number"), column(element("span", "unseen", actions), "acts")];
  const body = shown.map((each) => rowOf(each, adjustments, act, view));
  return element("table", "rows", element("thead", "", element("tr", "", ...head)), element("tbody", "", ...body));
}

export const hasMore = (invoices) => invoices.length > Math.max(FIRST, invoices.filter(isOpen).length);

function column(content, kind = "") {
  const made = element("th", kind, content);
  made.scope = "col";
  return made;
}

const below = (text) => element("span", "below", text);

function rowOf(each, adjustments, act, view) {
  const { formats, words } = view;
  const refunded = refundedOf(each, adjustments);
  const name = element("th", "", foreign(each.number ?? each.invoice_id, "long"), periodOf(each, formats));
  name.scope = "row";
  const total = element("td", "number", formats.money(each.total, each.currency));
  if (refunded > 0) total.append(below(words.refundedAmount(formats.money(refunded, each.currency))));
  const remaining = isOpen(each) && each.amount_remaining !== each.total;
  if (remaining) total.append(below(words.remaining(formats.money(each.amount_remaining, each.currency))));
  const row = element("tr", "", name, statusOf(each, refunded, view), total, linksOf(each, act, view));
  if (QUIET.has(each.status)) row.className = `past ${each.status}`;
  return row;
}

/** Return the period of an invoice, if it has one that lasts. */
function periodOf(each, formats) {
  const lasts = each.period_start && each.period_end && each.period_start !== each.period_end;
  return lasts ? below(formats.span(each.period_start, each.period_end)) : null;
}

/** Return what was given back of an invoice, in minor units: a charge has the sum, else refunds and credit notes. */
export function refundedOf({ invoice_id }, adjustments) {
  const own = adjustments.filter((each) => each.invoice_id === invoice_id);
  const charges = own.filter(({ kind }) => kind === "charge").map(({ amount_refunded }) => amount_refunded ?? 0);
  const others = own.filter(({ kind, status }) => kind === "refund" && status === "succeeded").map(({ amount }) => amount);
  const sum = (amounts) => amounts.reduce((total, amount) => total + amount, 0);
  return Math.max(sum(charges), sum(others));
}

function statusOf(each, refunded, { words, formats }) {
  const cell = (word, tone, text) => element("td", "", stateOf(words.invoice[word] ?? word, tone), text ? below(text) : null);
  const { status } = each;
  if (refunded > 0) return cell(refunded >= each.amount_paid ? "refunded" : "partlyRefunded", "none");
  if (status === "paid") return cell("paid", "good", each.paid_at && formats.day(each.paid_at));
  if (isOverdue(each)) return cell("overdue", "bad", words.dueSince(formats.day(each.due_at)));
  if (status === "open" && each.attempt_count > 0 && each.amount_remaining > 0) {
    return cell("failed", "bad", each.next_payment_attempt_at && words.nextAttempt(formats.day(each.next_payment_attempt_at)));
  }
  if (status === "open") return cell("open", "wait", each.due_at && words.due(formats.day(each.due_at)));
  return cell(status, "none");
}

function linksOf(each, act, { words, formats }) {
  const cell = element("td", "acts");
  const number = each.number ?? each.invoice_id;
  const link = (text, address, name, kind) => {
    const made = toStripe(text, address, kind);
    if (typeof made === "string") return;
    made.setAttribute("aria-label", name);
    cell.append(made);
  };
  const open = isOpen(each) && each.amount_remaining > 0;
  const paying = act?.(each) ?? null;
  if (paying) cell.append(paying);
  const pay = words.payOf(number, formats.money(each.amount_remaining, each.currency));
  if (open && !paying) link(words.pay, each.hosted_invoice_url, pay, "button");
  link(words.pdf, each.invoice_pdf, words.pdfOf(number));
  return cell;
}
