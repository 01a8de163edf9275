// <billing-activity>: a tenant's billing, kept up to date by its stream. Embed it in any page:
//
//   <script type="module" src="https://billing.example.com/assets/billing-activity.js"></script>
//   <billing-activity tenant="acme" lang="de"></billing-activity>
//   document.querySelector("billing-activity").token = async ({ refresh }) => session.billingToken({ refresh });
//
// `server` names the billing server if it is not the one that the page comes from. Colors, type and space are the custom
// properties of tokens.css: set them on the element to theme it. The event `billing-refused` says why it has stopped.
//
// Text from customers or Stripe reaches the page through textContent only.

import { Actions } from "./activity/actions.js";
import { Feed } from "./activity/feed.js";
import * as invoices from "./activity/invoices.js";
import { startOf } from "./activity/start.js";
import * as subscriptions from "./activity/subscriptions.js";
import { TenantData } from "./activity/tenant-data.js";
import { billedOf, usesOf } from "./activity/uses.js";
import { connectionOf, problemOf, verdictOf } from "./activity/verdict.js";
import { wordsFor } from "./activity/words.js";
import { BillingStream } from "./billing-stream.js";
import { element, setText } from "./dom.js";
import { formats } from "./format.js";

const STYLES = ["tokens.css", "billing-activity.css"].map((name) => new URL(name, import.meta.url).href);
const MINUTE = 60_000;
const FLICKER = 2000; // milliseconds before a change of the connection is shown
const STALE = 5000; // milliseconds without a connection until nothing on the page is certain
const BETWEEN_READINGS = 300; // milliseconds between two readings of what no message carries, while messages arrive
const STATUS = { loading: "catching-up", "catching-up": "catching-up", live: "live" };

/** A part of the page that is built again only where what it shows differs: focus and what was opened stay. */
class Part {
  #key;

  constructor(className, ...head) {
    this.body = element("div", "part");
    this.element = element("section", className, ...head, this.body);
    this.element.hidden = true;
  }

  /** Show what `make` builds of the data; nothing, and no section, where that is nothing. */
  show(data, make) {
    const key = JSON.stringify([data, new Date().toDateString()]);
    if (key === this.#key) return;
    this.#key = key;
    const built = [make()].flat().filter(Boolean);
    this.body.replaceChildren(...built);
    this.element.hidden = built.length === 0;
  }
}

export class BillingActivity extends HTMLElement {
  #root = this.attachShadow({ mode: "open" });
  #token = null;
  #view;
  #data;
  #stream = null;
  #status = "";
  #shownStatus = "";
  #heard = null; // when the connection was last known to be live
  #allInvoices = false;
  #frame = 0; // the animation frame that will draw
  #timers = new Set();
  #parts;

  static observedAttributes = ["tenant", "server", "lang"];

  /** A token, or a function that returns one, as BillingStream takes it. Setting it signs in; null signs out. */
  set token(token) {
    this.#token = token;
    this.#restart();
  }

  connectedCallback() {
    this.#restart();
  }

  attributeChangedCallback(_name, before, after) {
    if (before !== after) this.#restart(); // another tenant's data must not stay under this one's name
  }

  disconnectedCallback() {
    this.#stop();
  }

  /** The status of the stream, as the page shows it: catching-up, live, reconnecting, offline or stream_disabled. */
  get status() {
    return this.#shownStatus;
  }

  #restart() {
    this.#stop();
    if (!this.isConnected || this.#token === null) return;
    const server = this.getAttribute("server") ?? "";
    this.#data = new TenantData(this.getAttribute("tenant") ?? "", server);
    this.#view = { ...this.#language(), plans: this.#data.plans };
    this.#stream = new BillingStream({
      url: `${server}/api/v1/billing/stream`,
      token: this.#token,
      load: (get) => this.#data.load(get),
      onState: () => this.#showState(),
      onEvent: (message) => this.#showEvent(message),
      onStatus: (status, error) => this.#showStatus(status, error),
    });
    this.#build();
    this.#every(MINUTE, () => this.#draw());
    this.#stream.start();
  }

  #stop() {
    for (const timer of this.#timers) clearTimeout(timer), clearInterval(timer);
    this.#timers.clear();
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#stream?.stop();
    this.#parts?.actions.stop();
    this.#stream = null;
    this.#status = this.#shownStatus = "";
    this.#heard = null;
    this.#root.replaceChildren();
  }

  /** The words and formats of the reader: those of `lang` where it is given, else those of the browser. */
  #language() {
    const lang = this.getAttribute("lang");
    const { words, tag } = wordsFor(lang ? [lang] : [...navigator.languages]);
    return { words, formats: formats(lang ?? navigator.language), tag };
  }

  #build() {
    const { words } = this.#view;
    const head = (text) => element("div", "section-head", element("h2", "", text), element("span", "small quiet"));
    const connection = element("p", "connection");
    connection.id = "connection";
    connection.setAttribute("role", "status");
    this.#parts = {
      problem: new Part("problems"),
      access: new Part("access"),
      start: new Part("start"),
      subscriptions: new Part("subscriptions", head(words.subscription)),
      uses: new Part("uses-section", head(words.uses)),
      invoices: new Part("invoices", head(words.invoices)),
      credit: new Part("credit", head(words.credit)),
      billed: new Part("billed", head(words.billedUsage)),
    };
    this.#parts.connection = connection;
    this.#parts.feed = new Feed(this.#view, () => this.#loadEarlier());
    this.#parts.actions = new Actions(this.#view, this.#data, () => this.#stream);
    const sections = Object.values(this.#parts).filter((part) => part instanceof Part);
    const main = element("div", "main", connection, ...sections.map((part) => part.element));
    const page = element("div", "page", main, this.#parts.feed.element);
    page.lang = this.#view.tag;
    page.hidden = true;
    const styles = STYLES.map((href) => Object.assign(element("link"), { rel: "stylesheet", href }));
    const loaded = styles.map((style) => new Promise((resolve) => (style.onload = style.onerror = resolve)));
    Promise.all(loaded).then(() => (page.hidden = false));
    this.#parts.page = page;
    this.#root.replaceChildren(...styles, page, this.#parts.actions.element);
  }

  // --- what arrives ----------------------------------------------------------------------------------------------------

  #showState() {
    this.#parts.feed.reset(this.#data.history);
    this.#draw();
    this.#readBeside();
  }

  #showEvent(message) {
    this.#data.apply(message);
    this.#parts.feed.add(message);
    this.#parts.actions.heard(message);
    this.#frame ||= requestAnimationFrame(() => this.#draw()); // a burst is drawn once
    this.#readBeside();
  }

  /** Read again what no message carries, soon; calls that arrive before share it. */
  #readBeside() {
    if (this.#data.reading) return;
    this.#data.reading = true;
    const [stream, data] = [this.#stream, this.#data];
    this.#after(BETWEEN_READINGS, async () => {
      const isCurrent = await data.readBeside((url) => stream.get(url));
      data.reading = false;
      if (stream !== this.#stream) return;
      this.#draw();
      if (!isCurrent) this.#readBeside();
    });
  }

  async #loadEarlier() {
    const feed = this.#parts.feed;
    // The state of the connection is shown; the button can be pressed again.
    const earlier = await this.#data.page((url) => this.#stream.get(url), feed.oldest - 1).catch(() => []);
    feed.extend(earlier);
  }

  #showStatus(status, error) {
    if (status === "connecting") return;
    if (status === "refused" && error.code !== "stream_disabled") {
      this.#stop();
      this.dispatchEvent(new CustomEvent("billing-refused", { detail: error }));
      return;
    }
    this.#status = status === "refused" ? error.code : (STATUS[status] ?? status);
    if (this.#status === "live" || this.#shownStatus === "live") this.#heard = new Date().toISOString();
    if (this.#status === "live" || this.#shownStatus === "") this.#connectionChanged();
    else this.#after(FLICKER, () => this.#connectionChanged());
    this.#after(STALE + FLICKER, () => this.#draw());
  }

  #connectionChanged() {
    if (this.#shownStatus === this.#status) return;
    this.#shownStatus = this.#status;
    const { connection } = this.#parts;
    connection.dataset.state = this.#status;
    connection.replaceChildren(...connectionOf(this.#status, this.#view, () => this.#retry()));
    this.dispatchEvent(new CustomEvent("billing-status", { detail: this.#status }));
    this.#draw();
  }

  #retry() {
    this.#stream.stop();
    this.#stream.start();
  }

  /** Whether what is shown may be outdated. */
  get #isStale() {
    const lost = this.#status === "reconnecting" || this.#status === "offline";
    return lost && this.#heard !== null && Date.now() - Date.parse(this.#heard) >= STALE;
  }

  // --- drawing ---------------------------------------------------------------------------------------------------------

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const [data, view, parts, stale] = [this.#data, this.#view, this.#parts, this.#isStale];
    parts.feed.tick(!stale);
    parts.page.toggleAttribute("data-stale", stale);
    parts.actions.connected = !stale;
    if (data.access === null) return;
    const asOf = stale ? this.#heard : null;
    parts.access.element.dataset.state = data.access.state;
    parts.access.element.dataset.reason = data.access.reason;
    parts.access.show([data.access, asOf], () => verdictOf(data, view, asOf));
    parts.problem.show([...data.invoices.values()], () => problemOf(data, view, data.viewer.may_write));
    parts.start.show([data.isEmpty], () => data.isEmpty && startOf(data.tenant));
    this.#drawSubscriptions();
    parts.uses.show(data.entitlements, () => usesOf(data.entitlements, view));
    this.#drawInvoices();
    parts.credit.show(data.credit, () => data.credit?.available > 0 && invoices.creditOf(data.credit, view));
    parts.billed.show([...data.usage.values()], () => {
      const groups = billedOf(data.usage.values(), view);
      return groups.length > 0 && element("ul", "features", ...groups);
    });
    this.#reloadAccessLater();
  }

  #drawSubscriptions() {
    const [data, view, { subscriptions: part, actions }] = [this.#data, this.#view, this.#parts];
    const all = subscriptions.sorted(data.subscriptions.values());
    const open = [...data.invoices.values()].filter(invoices.isOpen);
    const title = all.length > 1 ? view.words.subscriptions(view.formats.count(all.length)) : view.words.subscription;
    setText(part.element.querySelector("h2"), title);
    setText(part.element.querySelector(".section-head span"), actions.refusal);
    const beside = (each) => ({
      plans: data.plans,
      upcoming: data.upcoming.get(each.subscription_id),
      open: open.find(({ subscription_id }) => subscription_id === each.subscription_id),
      buttons: actions.buttonsOf(each),
      undo: (change) => actions.undoButtonOf(each, change),
    });
    const shown = [all, open, [...data.upcoming], [...data.plans.keys()], actions.state];
    part.show(shown, () => {
      if (all.length === 0) return !data.isEmpty && element("p", "empty quiet", view.words.noSubscription);
      return all.map((each) => subscriptions.subscriptionOf(each, beside(each), view));
    });
  }

  #drawInvoices() {
    const [data, view, { invoices: part, actions }] = [this.#data, this.#view, this.#parts];
    const all = [...data.invoices.values()];
    setText(part.element.querySelector(".section-head span"), invoices.toPayOf(all, view));
    part.show([all, data.adjustments, this.#allInvoices, actions.state], () => {
      if (all.length === 0) return !data.isEmpty && element("p", "empty quiet", view.words.noInvoices);
      const act = (each) => actions.payButtonOf(each);
      const table = invoices.invoicesOf(all, data.adjustments, { all: this.#allInvoices, act }, view);
      if (this.#allInvoices || !invoices.hasMore(all)) return table;
      const count = data.mayHaveMore ? null : view.formats.count(all.length);
      const more = element("button", "plain more", count === null ? view.words.showMore : view.words.showAll(count));
      more.type = "button";
      more.addEventListener("click", () => this.#showAllInvoices());
      return [table, more];
    });
  }

  async #showAllInvoices() {
    await this.#data.readAll((url) => this.#stream.get(url));
    this.#allInvoices = true;
    this.#draw();
  }

  /** Reload the state when access ends, which may send no message. */
  #reloadAccessLater() {
    const { until } = this.#data.access;
    if (!until || this.#data.reloading === until) return;
    const wait = Math.max(MINUTE, Date.parse(until) - Date.now());
    if (wait > 86_400_000) return; // the page draws every minute, and looks again then
    this.#data.reloading = until;
    this.#after(wait, async () => {
      await this.#data.readAccess((url) => this.#stream.get(url));
      this.#draw();
    });
  }

  #after(wait, act) {
    const session = this.#stream;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (session === this.#stream && session !== null) act();
    }, wait);
    this.#timers.add(timer);
  }

  #every(wait, act) {
    this.#timers.add(setInterval(act, wait));
  }
}

customElements.define("billing-activity", BillingActivity);
