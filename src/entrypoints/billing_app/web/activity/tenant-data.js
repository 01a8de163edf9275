// The state of a tenant as messages change it, and what the page reads beside it.

const PAGE = 50;
const FIRST_INVOICES = 50;
const MOST = 500; // that the server answers at once
const BETWEEN_ESTIMATES = 60_000; // milliseconds: each is a request to Stripe
const NOTHING = { features: [], sequence: 0 };

export class TenantData {
  subscriptions = new Map();
  invoices = new Map();
  usage = new Map();
  plans = new Map();
  upcoming = new Map();
  adjustments = [];
  credit = null; // what is left of it, in one currency
  entitlements = NOTHING;
  viewer = { may_write: false };
  access = null;
  sequence = 0;
  history = [];
  mayHaveMore = false; // invoices than were loaded
  reading = false;
  #estimatesDue = 0; // when next invoices may be asked for again
  reloading = null;
  #base;
  #server;

  constructor(tenant, server) {
    this.tenant = tenant;
    this.#server = `${server}/api/v1/billing`;
    this.#base = `${this.#server}/tenants/${encodeURIComponent(tenant)}`;
  }

  /** Whether nothing was ever billed. */
  get isEmpty() {
    return this.sequence === 0 && this.subscriptions.size === 0;
  }

  /** The URL of a part of the tenant, such as "subscriptions/sub_1/cancel". */
  url(path) {
    return `${this.#base}/${path}`;
  }

  /** Load the state, settled invoices, earlier usage, plans and the last messages; return the state. */
  async load(get) {
    const [current, viewer] = await Promise.all([get(this.url("state")), get(this.url("viewer"))]);
    const [settled, billed, sold, history] = await Promise.all([
      get(this.url(`invoices?limit=${FIRST_INVOICES}`)),
      get(this.url(`usage?limit=${MOST}`)),
      viewer.operations ? get(`${this.#server}/plans`) : { plans: [] },
      this.page(get, current.sequence),
    ]);
    this.subscriptions = new Map(current.subscriptions.map((each) => [each.subscription_id, each]));
    // Both lists may hold an invoice, with equal content; newer content comes by the stream.
    this.invoices = new Map([...settled.invoices, ...current.invoices].map((each) => [each.invoice_id, each]));
    this.usage = new Map([...billed.usage, ...current.usage].map((each) => [each.line_id, each]));
    this.mayHaveMore = settled.invoices.length === FIRST_INVOICES;
    this.access = current.access;
    this.sequence = current.sequence;
    this.viewer = viewer;
    for (const plan of sold.plans) this.plans.set(plan.plan_code, plan);
    this.history = history;
    return current;
  }

  /** Get the last messages up to a number. */
  async page(get, last) {
    const { events } = await get(this.url(`events?after=${Math.max(0, last - PAGE)}&limit=${PAGE}`));
    return events.filter((message) => message.sequence <= last);
  }

  /** Apply a message. */
  apply({ subscription, invoice, usage, access, sequence }) {
    if (subscription) this.subscriptions.set(subscription.subscription_id, subscription);
    if (subscription) this.upcoming.delete(subscription.subscription_id); // it is about what was there before
    if (invoice?.status === "deleted") this.invoices.delete(invoice.invoice_id);
    else if (invoice) this.invoices.set(invoice.invoice_id, invoice);
    for (const [line, record] of this.usage) if (record.invoice_id === invoice?.invoice_id) this.usage.delete(line);
    for (const record of usage) this.usage.set(record.line_id, record);
    this.access = access;
    this.sequence = sequence;
  }

  /**
   * Read what no message carries: entitlements, refunds, next invoices and credit. What cannot be read is left as it is.
   * Return whether the entitlements are as new as the last message; if not, read again.
   */
  async readBeside(get) {
    const known = (reading, otherwise) => reading.catch(() => otherwise);
    const [entitlements, adjusted] = await Promise.all([
      known(get(this.url("entitlements")), this.entitlements),
      known(get(this.url(`adjustments?limit=${MOST}`)), { adjustments: this.adjustments }),
    ]);
    this.entitlements = entitlements;
    this.adjustments = adjusted.adjustments;
    if (this.viewer.operations && Date.now() >= this.#estimatesDue) await this.#readUpcoming(get);
    return entitlements.sequence >= this.sequence || entitlements === NOTHING;
  }

  async #readUpcoming(get) {
    this.#estimatesDue = Date.now() + BETWEEN_ESTIMATES;
    const renewing = [...this.subscriptions.values()].filter((each) => each.auto_renew && !each.ended_at);
    const read = renewing.slice(0, 3).map(async ({ subscription_id: id }) => {
      const { invoice } = await get(this.url(`subscriptions/${encodeURIComponent(id)}/upcoming-invoice`));
      return [id, invoice];
    });
    const results = await Promise.allSettled(read);
    const found = results.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
    this.upcoming = new Map(found.filter(([, invoice]) => invoice));
    const currency = renewing.find((each) => each.currency)?.currency;
    this.credit = currency ? await get(this.url(`credit?currency=${currency}`)).catch(() => null) : null;
    if (read.length > 0 && found.length === 0) this.#estimatesDue = Infinity; // Stripe knows none of them
  }

  /** Read invoices that were not loaded at first. One that cannot be read now can be asked for again. */
  async readAll(get) {
    if (!this.mayHaveMore) return;
    const { invoices } = await get(this.url(`invoices?limit=${MOST}`));
    for (const each of invoices) if (!this.invoices.has(each.invoice_id)) this.invoices.set(each.invoice_id, each);
    this.mayHaveMore = false;
  }

  /** Read access again, unless messages that it does not know yet have arrived. */
  async readAccess(get) {
    const loaded = await get(this.url("state")).catch(() => null);
    if (loaded?.sequence === this.sequence) this.access = loaded.access;
    this.reloading = null;
  }
}
