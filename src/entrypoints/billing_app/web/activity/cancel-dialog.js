// The end of a subscription with its period.

import { element } from "../dom.js";

const REASONS = ["too_expensive", "missing_features", "switched_service", "unused", "other"];

/** Return what the dialog asks and does. */
export function cancelDialog(subscription, _data, post, { words, formats }) {
  const why = element("select");
  why.id = "why";
  why.append(...["", ...REASONS].map((reason) => Object.assign(element("option", "", words.act.reasons[reason]), { value: reason })));
  const more = Object.assign(element("textarea"), { id: "more", rows: 3, maxLength: 500 });
  const field = (input, text) => element("div", "field", Object.assign(element("label", "", text), { htmlFor: input.id }), input);
  const end = formats.day(subscription.current_period_end);
  const body = () => ({ at: "period_end", feedback: why.value || null, comment: more.value.trim() || null });
  return {
    title: words.act.cancelTitle,
    body: [element("p", "", words.act.cancelText(end)), field(why, words.act.why), field(more, words.act.more)],
    confirm: words.act.cancelOn(end),
    about: subscription.subscription_id,
    send: (key) => post("cancel", body(), key),
  };
}
