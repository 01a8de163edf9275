// What a tenant has access to, why, and the one problem that is most urgent.

import { element, stateOf, toStripe } from "../dom.js";
import { isOverdue } from "./invoices.js";

/** Return the verdict and its reason. `asOf` is the time of the last confirmation where the stream is lost. */
export function verdictOf({ access }, { words, formats }, asOf) {
  const { state, reason, until } = access;
  const plain = reason === "no_subscription" ? words.notSubscribed : (words.access[state] ?? state);
  const text = until && state !== "blocked" ? words.until(plain, formats.shortDay(until)) : plain;
  const verdict = element("h2", "verdict", text);
  if (asOf) verdict.append(element("span", "as-of", words.asOf(formats.time(asOf))));
  return [verdict, element("p", "reason", words.reasons[reason] ?? "")];
}

/** Return the banner of the most urgent open invoice, or nothing. */
export function problemOf({ invoices }, { words, formats }, mayWrite) {
  const failed = ({ status, attempt_count, collection_method }) =>
    status === "open" && attempt_count > 0 && collection_method !== "send_invoice";
  const urgent = [...invoices.values()].filter((each) => each.amount_remaining > 0 && (failed(each) || isOverdue(each)));
  const worst = urgent.sort((a, b) => b.amount_remaining - a.amount_remaining)[0];
  if (worst === undefined) return null;
  const amount = formats.money(worst.amount_remaining, worst.currency);
  const { title, next } = failed(worst)
    ? { title: words.problem.failed(amount), next: nextAttempt(worst, words, formats) }
    : { title: words.problem.overdue(amount), next: words.problem.since(formats.day(worst.due_at)) };
  const text = mayWrite ? next : `${next} ${words.problem.viewer}`;
  const pay = toStripe(words.pay, worst.hosted_invoice_url, "button");
  const buttons = typeof pay === "string" ? null : element("div", "buttons", pay);
  const made = element("div", "problem", element("div", "", element("h2", "", title), element("p", "", text)), buttons);
  made.setAttribute("role", "region");
  made.setAttribute("aria-label", title);
  return made;
}

const nextAttempt = ({ next_payment_attempt_at: next }, words, formats) =>
  next ? words.problem.next(formats.day(next)) : words.problem.last;

/** Return the state of the connection as a dot and a word, with a button where a retry may help. */
export function connectionOf(status, { words }, retry) {
  const tone = { live: "good", "catching-up": "wait", reconnecting: "bad", offline: "bad" }[status];
  const made = [stateOf(words.connection[status] ?? status, tone)];
  if (status === "reconnecting" || status === "offline") {
    const button = element("button", "link", words.retry);
    button.type = "button";
    button.addEventListener("click", retry);
    made.push(button);
  }
  return made;
}
