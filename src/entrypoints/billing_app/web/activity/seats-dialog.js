// Another number of seats.

import { element } from "../dom.js";
import { costOf } from "./actions.js";

/** Return what the dialog asks and does. */
export function seatsDialog(subscription, _data, post, view) {
  const { words, formats } = view;
  const input = element("input");
  Object.assign(input, { id: "seat-count", type: "number", inputMode: "numeric", min: 1, required: true });
  input.value = subscription.seat_count;
  const name = element("label", "", words.seats);
  name.htmlFor = input.id;
  const seats = () => ({ seats: Math.max(1, Math.trunc(Number(input.value)) || 1) });
  return {
    title: words.seats,
    body: [element("div", "field", name, input)],
    inputs: [input],
    confirm: words.act.setSeats(formats.count(subscription.seat_count)),
    confirmOf: () => words.act.setSeats(formats.count(seats().seats)),
    about: subscription.subscription_id,
    previewLater: true, // the number that is there already changes nothing
    preview: () => post("seats/preview", seats()),
    show: (preview) => costOf(preview, view),
    send: (key, preview) => post("seats", { ...seats(), preview_id: preview.preview_id }, key),
  };
}
