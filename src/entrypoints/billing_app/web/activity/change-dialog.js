// Another plan or interval, at once or with the next period.

import { element, foreign } from "../dom.js";
import { costOf } from "./actions.js";

/** Return what the dialog asks and does. */
export function changeDialog(subscription, { plans }, post, view) {
  const { words, formats } = view;
  const offers = offersOf(subscription, plans.values());
  const other = offers.find((each) => !isCurrent(each, subscription)) ?? offers[0];
  const choices = offers.map((offer) => choiceOf(offer, offer === other, isCurrent(offer, subscription), view));
  const end = subscription.current_period_end;
  const times = ["auto", "now", "period_end"].map((when) => {
    const text = when === "period_end" ? words.act.onDay(end ? formats.shortDay(end) : "") : words.act[when];
    return radio("when", when, when === "auto", text);
  });
  const chosen = (boxes) => boxes.find(({ input }) => input.checked).input.value;
  const wanted = () => {
    const offer = offers[Number(chosen(choices))];
    const { interval, interval_count, currency } = offer;
    return { plan_code: offer.plan.plan_code, interval, interval_count, currency, when: chosen(times) };
  };
  return {
    title: words.act.change,
    body: [
      fieldset("offers", words.act.plan, choices, true),
      element("div", "", fieldset("choice", words.act.takesEffect, times, false)),
    ],
    inputs: [...choices, ...times].map(({ input }) => input),
    confirm: words.act.change,
    confirmOf: ({ now }) => (now?.amount_due > 0 ? words.act.payAndChange(formats.money(now.amount_due, now.currency)) : words.act.change),
    about: subscription.subscription_id,
    preview: () => post("change/preview", wanted()),
    show: (preview) => costOf(preview, view),
    send: (key, preview) => post("change", { ...wanted(), preview_id: preview.preview_id }, key),
  };
}

/** Return the plans of the subscription's currency, each with every interval in which it is sold. */
export function offersOf({ currency }, plans) {
  return [...plans]
    .filter(({ addon }) => !addon)
    .flatMap((plan) => {
      const base = plan.prices.filter((each) => ["base", "seat"].includes(each.role) && each.interval && each.currency === currency);
      const terms = new Map(base.map((each) => [`${each.interval_count} ${each.interval}`, each]));
      return [...terms.values()].map((price) => ({ ...price, plan }));
    });
}

const isCurrent = ({ plan, interval, interval_count }, subscription) =>
  plan.plan_code === subscription.plan_code &&
  interval === subscription.interval &&
  interval_count === (subscription.interval_count ?? 1);

function choiceOf(offer, checked, current, { words, formats }) {
  const amount = offer.unit_amount_decimal ?? offer.amount;
  const per = words.per(formats.count(offer.interval_count), offer.interval_count, offer.interval);
  const price = amount === null ? per : `${formats.unitPrice(amount, offer.currency)} ${per}`;
  const name = element("span", "", foreign(offer.plan.name));
  if (current) name.append(" ", element("span", "quiet small", words.act.current));
  const unit = offer.role === "seat" ? element("span", "below", words.act.perSeat) : null;
  return radio("plan", null, checked, name, element("span", "number", price), unit);
}

function radio(name, value, checked, ...content) {
  const input = element("input");
  Object.assign(input, { type: "radio", name, checked });
  if (value !== null) input.value = value;
  return { input, label: element("label", "", input, ...content) };
}

function fieldset(kind, legend, boxes, unseen) {
  boxes.forEach(({ input }, place) => input.hasAttribute("value") || (input.value = place));
  if (kind === "offers") return element("fieldset", kind, element("legend", unseen ? "unseen" : "", legend), ...boxes.map(({ label }) => label));
  return element("fieldset", "", element("legend", "", legend), element("div", kind, ...boxes.map(({ label }) => label)));
}
