// The live feed: numbered messages, the newest on top, each once.

import { $, element, say, theirs } from "./dom.js";
import { count, lately, moment, words } from "./format.js";

const MOST = 500;
const QUIET = 1500; // how long nothing must come before the news is told, so that a burst is told as one
const LONGEST_WAIT = 6000;
const GOOD = /\.(created|activated|renewed|recovered|resumed|paid|cancellation_withdrawn)$/;
const BAD = /\.(past_due|unpaid|canceled|expired|payment_failed|overdue|uncollectible|disputed|deleted)$/;

export class Feed {
  #list = $("feed");
  #untold = 0;
  #untoldSince = 0;
  #timer;

  /** Begin again with what happened before; lowest number first. */
  reset(history) {
    clearTimeout(this.#timer);
    this.#untold = 0;
    say($("news"), "");
    this.#list.replaceChildren(...history.toReversed().map((message) => entry(message, false)));
    this.#settle();
  }

  /** Put a new message on top. */
  add(message) {
    this.#list.prepend(entry(message, true));
    while (this.#list.childElementCount > MOST) this.#list.lastElementChild.remove();
    this.#settle();
    this.#announce(message);
  }

  /** Put a page of older messages below; lowest number first. */
  extend(history) {
    const oldest = this.oldest;
    const older = history.filter((message) => message.sequence < oldest);
    this.#list.append(...older.toReversed().map((message) => entry(message, false)));
    this.#settle();
  }

  /** The lowest number shown; 1 when there is none. */
  get oldest() {
    return Number(this.#list.lastElementChild?.dataset.sequence ?? 1);
  }

  #settle() {
    const newest = this.#list.firstElementChild;
    if (newest !== null) this.#list.start = Number(newest.dataset.sequence);
    $("no-events").hidden = newest !== null;
    $("earlier").hidden = this.oldest <= 1 || this.#list.childElementCount >= MOST;
  }

  /** Tell a screen reader what came, once for a burst. */
  #announce(message) {
    if (this.#untold === 0) this.#untoldSince = Date.now();
    this.#untold += 1;
    clearTimeout(this.#timer);
    const wait = Math.max(0, Math.min(QUIET, this.#untoldSince + LONGEST_WAIT - Date.now()));
    this.#timer = setTimeout(() => {
      const many = this.#untold > 1 ? `${count(this.#untold)} changes, the last: ` : "";
      say($("news"), `${many}${message.summary}`);
      this.#untold = 0;
    }, wait);
  }
}

const tone = (type) => (GOOD.test(type) ? "good" : BAD.test(type) ? "bad" : "neutral");

function entry(message, fresh) {
  const time = element("time", "quiet", lately(message.occurred_at));
  time.dateTime = message.occurred_at;
  time.title = moment(message.occurred_at);
  const head = element(
    "p",
    "head",
    element("span", "sequence", `#${message.sequence}`),
    element("strong", "", words(message.event_type)),
    time,
  );
  const item = element("li", fresh ? "fresh" : "", head, element("p", "", theirs(message.summary, "long")));
  item.dataset.sequence = message.sequence;
  item.dataset.tone = tone(message.event_type);
  return item;
}
