// The live feed: numbered messages, newest first, each once.

import { $, element, foreign, setText } from "./dom.js";
import { count, label, moment, shortMoment } from "./format.js";

const MAX_ENTRIES = 500;
const QUIET = 1500; // milliseconds without a message before one is announced, so that a burst is announced once
const MAX_WAIT = 6000;
const GOOD = /\.(created|activated|renewed|recovered|resumed|paid|cancellation_withdrawn)$/;
const BAD = /\.(past_due|unpaid|canceled|expired|payment_failed|overdue|uncollectible|disputed|deleted)$/;

export class Feed {
  #list = $("feed");
  #unannounced = 0;
  #unannouncedSince = 0;
  #timer;

  /** Replace the content with earlier messages, given lowest number first. */
  reset(history) {
    clearTimeout(this.#timer);
    this.#unannounced = 0;
    setText($("news"), "");
    this.#list.replaceChildren(...history.toReversed().map((message) => entry(message, false)));
    this.#update();
  }

  /** Add a new message at the top. */
  add(message) {
    this.#list.prepend(entry(message, true));
    while (this.#list.childElementCount > MAX_ENTRIES) this.#list.lastElementChild.remove();
    this.#update();
    this.#announce(message);
  }

  /** Add a page of older messages at the bottom, given lowest number first. */
  extend(history) {
    const oldest = this.oldest;
    const older = history.filter((message) => message.sequence < oldest);
    this.#list.append(...older.toReversed().map((message) => entry(message, false)));
    this.#update();
  }

  /** The lowest number shown; 1 if there is none. */
  get oldest() {
    return Number(this.#list.lastElementChild?.dataset.sequence ?? 1);
  }

  #update() {
    const newest = this.#list.firstElementChild;
    if (newest !== null) this.#list.start = Number(newest.dataset.sequence);
    $("no-events").hidden = newest !== null;
    $("earlier").hidden = this.oldest <= 1 || this.#list.childElementCount >= MAX_ENTRIES;
  }

  /** Announce new messages to screen readers, once per burst. */
  #announce(message) {
    if (this.#unannounced === 0) this.#unannouncedSince = Date.now();
    this.#unannounced += 1;
    clearTimeout(this.#timer);
    const wait = Math.max(0, Math.min(QUIET, this.#unannouncedSince + MAX_WAIT - Date.now()));
    this.#timer = setTimeout(() => {
      const many = this.#unannounced > 1 ? `${count(this.#unannounced)} changes; latest: ` : "";
      setText($("news"), `${many}${message.summary}`);
      this.#unannounced = 0;
    }, wait);
  }
}

const tone = (type) => (GOOD.test(type) ? "good" : BAD.test(type) ? "bad" : "neutral");

function entry(message, fresh) {
  const time = element("time", "quiet", shortMoment(message.occurred_at));
  time.dateTime = message.occurred_at;
  time.title = moment(message.occurred_at);
  const head = element(
    "p",
    "head",
    element("span", "sequence", `#${message.sequence}`),
    element("strong", "", label(message.event_type)),
    time,
  );
  const item = element("li", fresh ? "fresh" : "", head, element("p", "", foreign(message.summary, "long")));
  item.dataset.sequence = message.sequence;
  item.dataset.tone = tone(message.event_type);
  return item;
}
