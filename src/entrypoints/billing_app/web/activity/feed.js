// The numbered messages of a tenant, newest first, each once, grouped by day.

import { element, foreign, setText, timeOf } from "../dom.js";
import { titleOf, textOf } from "./messages.js";

const MAX_ENTRIES = 500;
const QUIET = 1500; // milliseconds without a message before one is announced, so that a burst is announced once
const MAX_WAIT = 6000;
const GOOD = /\.(created|activated|renewed|recovered|resumed|paid|cancellation_withdrawn|added)$/;
const WAIT = /\.(past_due|payment_failed|payment_action_required|overdue|trial_ending|threshold_reached|disputed)$/;
const BAD = /\.(unpaid|canceled|expired|uncollectible|deleted|revoked)$/;
const KINDS = ["", "subscription", "invoice", "usage"];
const choices = { made: 0 }; // radio buttons of one name belong together, so each feed has its own

export class Feed {
  #view;
  #list = element("div", "entries");
  #news = element("p", "unseen");
  #none = element("p", "empty quiet");
  #earlier = element("button", "plain more");
  #kind = "";
  #unannounced = 0;
  #unannouncedSince = 0;
  #timer;

  /** `loadEarlier` is called by the button below; it may return a promise, during which the button waits. */
  constructor(view, loadEarlier) {
    this.#view = view;
    const { words } = view;
    this.#list.id = "feed";
    this.#news.id = "news";
    this.#news.setAttribute("role", "status");
    setText(this.#none, words.noChanges);
    setText(this.#earlier, words.showEarlier);
    this.#earlier.type = "button";
    this.#earlier.addEventListener("click", async () => {
      this.#earlier.disabled = true;
      await loadEarlier().finally(() => (this.#earlier.disabled = false));
    });
    const title = element("div", "section-head", element("h2", "", words.activity));
    this.element = element("aside", "feed", title, this.#filter(), this.#news, this.#list, this.#none, this.#earlier);
    this.element.setAttribute("aria-label", words.activity);
  }

  /** Replace the content with earlier messages, given lowest number first. */
  reset(history) {
    clearTimeout(this.#timer);
    this.#unannounced = 0;
    setText(this.#news, "");
    this.#list.replaceChildren(...history.toReversed().map((message) => this.#entry(message, false)));
    this.#update();
  }

  /** Add a new message at the top. */
  add(message) {
    this.#list.prepend(this.#entry(message, true));
    const entries = this.#entries;
    for (const each of entries.slice(MAX_ENTRIES)) each.remove();
    this.#update();
    this.#announce(message);
  }

  /** Add a page of older messages at the bottom, given lowest number first. */
  extend(history) {
    const oldest = this.oldest;
    const older = history.filter((message) => message.sequence < oldest);
    this.#list.append(...older.toReversed().map((message) => this.#entry(message, false)));
    this.#update();
  }

  /** Update the times; without a connection they are absolute. */
  tick(connected) {
    const { formats } = this.#view;
    for (const each of this.#list.querySelectorAll("time")) {
      setText(each, connected ? formats.ago(each.dateTime) : formats.time(each.dateTime));
    }
  }

  /** The lowest number shown; 1 if there is none. */
  get oldest() {
    return Number(this.#entries.at(-1)?.dataset.sequence ?? 1);
  }

  get #entries() {
    return [...this.#list.querySelectorAll("article")];
  }

  /** Put a heading before the first shown entry of each day. */
  #update() {
    const entries = this.#entries;
    for (const heading of this.#list.querySelectorAll("h3")) heading.remove();
    let shown = "";
    for (const each of entries) {
      each.hidden = !each.dataset.type.startsWith(this.#kind);
      const day = each.hidden ? shown : this.#view.formats.dayName(each.querySelector("time").dateTime);
      if (day !== shown) each.before(element("h3", "day", day));
      shown = day;
    }
    this.#none.hidden = entries.length > 0;
    this.#earlier.hidden = this.oldest <= 1 || entries.length >= MAX_ENTRIES;
  }

  #filter() {
    const { words } = this.#view;
    const name = `kind-${(choices.made += 1)}`;
    const radios = KINDS.map((kind) => {
      const input = element("input");
      Object.assign(input, { type: "radio", name, value: kind, checked: kind === "" });
      return element("label", "", input, words.kinds[kind]);
    });
    const made = element("fieldset", "choice", element("legend", "unseen", words.show), ...radios);
    made.addEventListener("change", (event) => {
      this.#kind = event.target.value;
      this.#update();
    });
    return made;
  }

  #entry(message, fresh) {
    const { formats } = this.#view;
    const time = timeOf(message.occurred_at, formats.ago(message.occurred_at));
    time.title = `${formats.moment(message.occurred_at)}, #${message.sequence}`;
    const title = element("h4", "", titleOf(message, this.#view));
    const text = element("p", "", foreign(textOf(message, this.#view), "long"));
    const made = element("article", fresh ? "fresh" : "", title, time, text);
    made.dataset.sequence = message.sequence;
    made.dataset.type = message.event_type;
    made.dataset.tone = toneOf(message.event_type);
    return made;
  }

  /** Announce new messages to screen readers, once per burst. */
  #announce(message) {
    const { words, formats } = this.#view;
    if (this.#unannounced === 0) this.#unannouncedSince = Date.now();
    this.#unannounced += 1;
    clearTimeout(this.#timer);
    const wait = Math.max(0, Math.min(QUIET, this.#unannouncedSince + MAX_WAIT - Date.now()));
    this.#timer = setTimeout(() => {
      const latest = `${titleOf(message, this.#view)}. ${textOf(message, this.#view)}`;
      setText(this.#news, this.#unannounced > 1 ? words.manyChanges(formats.count(this.#unannounced), latest) : latest);
      this.#unannounced = 0;
    }, wait);
  }
}

const toneOf = (type) => (GOOD.test(type) ? "good" : WAIT.test(type) ? "wait" : BAD.test(type) ? "bad" : "none");
