// What an owner can change: plan, seats, cancellation, undo, payment, and the portal. Every change shows what it costs
// before it is confirmed, happens once, and is done when its message arrives on the stream.

import { element, foreign } from "../dom.js";
import { cancelDialog } from "./cancel-dialog.js";
import { changeDialog, offersOf } from "./change-dialog.js";
import { Confirmation } from "./confirmation.js";
import { seatsDialog } from "./seats-dialog.js";
import { hasEnded } from "./subscriptions.js";

export class Actions {
  /** Whether the page is connected; what is offered without that could rest on old data. */
  connected = false;
  #view;
  #data;
  #stream;
  #confirmation;

  /** `stream` returns the stream whose token is used. */
  constructor(view, data, stream) {
    this.#view = view;
    this.#data = data;
    this.#stream = stream;
    this.#confirmation = new Confirmation(view);
    this.element = this.#confirmation.element;
  }

  /** Whether the reader may change something; what the buttons depend on. */
  get state() {
    const { may_write, operations } = this.#data.viewer;
    return may_write && operations ? (this.connected ? "ready" : "disconnected") : "none";
  }

  /** Why the reader is offered nothing where others are; empty if there is no reason to name. */
  get refusal() {
    const { may_write, operations } = this.#data.viewer;
    return operations && !may_write ? this.#view.words.act.onlyOwners : "";
  }

  /** End what is under way. */
  stop() {
    this.#confirmation.stop();
  }

  /** Tell an open dialog that a message arrived. */
  heard(message) {
    this.#confirmation.heard(message);
  }

  /** Return the buttons of a subscription; null where the reader may not use them. */
  buttonsOf(subscription) {
    if (this.state === "none" || hasEnded(subscription)) return null;
    const { words } = this.#view;
    const ending = subscription.scheduled_changes.some(({ kind }) => kind === "cancellation");
    const offers = offersOf(subscription, this.#data.plans.values());
    const buttons = element("div", "buttons");
    const add = (text, kind, act) => buttons.append(this.#button(text, kind, act));
    if (offers.length > 0) add(words.act.changePlan, "primary", () => this.#open(changeDialog, subscription));
    if (subscription.seat_count !== null) add(words.act.seats, "", () => this.#open(seatsDialog, subscription));
    add(words.act.manage, "", () => this.#toPortal());
    if (!ending) add(words.act.cancel, "plain", () => this.#open(cancelDialog, subscription));
    if (this.state === "disconnected") buttons.append(element("p", "small quiet why-not", words.act.disconnected));
    return buttons;
  }

  /** Return the button that withdraws a scheduled change; it asks nothing, since the change can be made again. */
  undoButtonOf(subscription, change) {
    if (this.state === "none") return null;
    const undo = () => this.#confirmation.carryOut({
      title: this.#view.words.act.undoing,
      about: subscription.subscription_id,
      send: (key) => this.#post(`subscriptions/${subscription.subscription_id}/undo`, { kind: change.kind }, key),
    });
    return this.#button(this.#view.words.act.undo, "", undo);
  }

  /** Return the button that tries to collect an open invoice; null where the reader may not. */
  payButtonOf(invoice) {
    if (this.state === "none" || invoice.status !== "open" || invoice.amount_remaining <= 0) return null;
    const { words, formats } = this.#view;
    const amount = formats.money(invoice.amount_remaining, invoice.currency);
    const number = invoice.number ?? invoice.invoice_id;
    const pay = () => this.#confirmation.ask({
      title: words.payOf(number, amount),
      body: [element("p", "", words.act.payText(amount))],
      confirm: words.act.payNow(amount),
      about: invoice.invoice_id,
      send: (key) => this.#post(`invoices/${invoice.invoice_id}/pay`, { customer_present: true }, key),
      link: invoice.hosted_invoice_url,
    });
    const button = this.#button(words.pay, "", pay);
    button.setAttribute("aria-label", words.payOf(number, amount));
    return button;
  }

  #button(text, kind, act) {
    const made = element("button", kind, text);
    made.type = "button";
    if (this.state === "disconnected") made.setAttribute("aria-disabled", "true");
    else made.addEventListener("click", act);
    return made;
  }

  #open(dialog, subscription) {
    const post = (path, body, key) => this.#post(`subscriptions/${subscription.subscription_id}/${path}`, body, key);
    const portal = () => this.#button(this.#view.words.act.manage, "", () => this.#toPortal());
    this.#confirmation.ask({ ...dialog(subscription, this.#data, post, this.#view), portal });
  }

  #toPortal() {
    this.#confirmation.carryOut({
      title: this.#view.words.act.manage,
      send: (key) => this.#post("portal", { return_url: location.href }, key),
    });
  }

  #post(path, body, key) {
    const headers = key === undefined ? {} : { "Idempotency-Key": key };
    return this.#stream().post(this.#data.url(path), body, headers);
  }
}

/** Return a table of what an invoice consists of, in the reader's words. */
export function quoteOf(invoice, total, { words, formats }) {
  const row = (name, amount, kind = "") => {
    const head = element("th", "", name);
    head.scope = "row";
    return element("tr", kind, head, element("td", "number", formats.money(amount, invoice.currency)));
  };
  const rows = invoice.lines.map((line) => {
    const period = line.period ? element("span", "below", formats.span(line.period.start, line.period.end)) : null;
    return row(element("span", "", foreign(line.description ?? line.plan_code ?? "", "long"), period), line.amount);
  });
  if (invoice.discount) rows.push(row(words.quote.discount, -invoice.discount));
  if (invoice.tax) rows.push(row(words.quote.tax, invoice.tax));
  if (invoice.credit_applied) rows.push(row(words.quote.credit, -invoice.credit_applied));
  rows.push(row(total, invoice.amount_due, "total"));
  return element("table", "quote", element("tbody", "", ...rows));
}

/** Return what a previewed change costs: now, and from when how much. */
export function costOf(preview, view) {
  const { words, formats } = view;
  const shown = preview.now === null ? [element("p", "", words.quote.nothing)] : [quoteOf(preview.now, words.quote.dueNow, view)];
  if (preview.upcoming !== null) {
    const amount = formats.money(preview.upcoming.amount_due, preview.upcoming.currency);
    const from = preview.upcoming.due_at ?? preview.effective_at;
    shown.push(element("p", "small quiet then", from ? words.quote.from(formats.day(from), amount) : words.quote.next(amount)));
  }
  if (preview.replaces.length > 0) shown.push(element("p", "small quiet", words.quote.replaces));
  return shown;
}
