// The Billing Activity page: a tenant's state, kept up to date by its stream.
//
// Whatever a customer or Stripe wrote reaches the page through textContent only.

import { BillingStream, failure } from "./billing-stream.js";
import { count, day, moment, money, words } from "./format.js";

const TOKEN = "billing-token";
const MOST_IN_FEED = 200;
const MOST_INVOICES = 12;

const $ = (id) => document.getElementById(id);
let stream = null;
const state = { subscriptions: new Map(), invoices: new Map(), usage: new Map() };

// --- signing in ------------------------------------------------------------------------------------------------------

function tenantOf(token) {
  try {
    const claims = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(claims), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)).tenant_id ?? null;
  } catch {
    return null;
  }
}

function signIn(token) {
  const tenant = tenantOf(token);
  if (tenant === null) return signOut("That is not a token.");
  sessionStorage.setItem(TOKEN, token);
  $("tenant").textContent = tenant;
  $("signed-out").hidden = true;
  $("signed-in").hidden = false;
  $("sign-out").hidden = false;
  stream = new BillingStream({
    url: "/api/v1/billing/stream",
    token: () => sessionStorage.getItem(TOKEN),
    load: () => load(tenant),
    onState: showState,
    onEvent: showEvent,
    onStatus: showStatus,
  });
  stream.start();
}

function signOut(reason = "") {
  stream?.stop();
  stream = null;
  sessionStorage.removeItem(TOKEN);
  $("tenant").textContent = "";
  $("sign-in-reason").textContent = reason;
  $("signed-out").hidden = false;
  $("signed-in").hidden = true;
  $("sign-out").hidden = true;
  badge("idle", "not signed in");
}

// --- loading ---------------------------------------------------------------------------------------------------------

async function get(tenant, path) {
  const response = await fetch(`/api/v1/billing/tenants/${encodeURIComponent(tenant)}/${path}`, {
    headers: { Authorization: `Bearer ${sessionStorage.getItem(TOKEN)}` },
    cache: "no-store",
  });
  if (!response.ok) throw await failure(response);
  return response.json();
}

/** The state, and around it what only fills the page: settled invoices and the last messages. */
async function load(tenant) {
  const current = await get(tenant, "state");
  const from = Math.max(0, current.sequence - 50);
  const [invoices, history] = await Promise.all([
    get(tenant, `invoices?limit=${MOST_INVOICES}`),
    get(tenant, `events?after=${from}&limit=50`),
  ]);
  return { ...current, recent: invoices.invoices, history: history.events };
}

// --- showing ---------------------------------------------------------------------------------------------------------

const CONNECTION = {
  loading: ["wait", "catching up"],
  live: ["live", "live"],
  reconnecting: ["wait", "reconnecting"],
};

function showStatus(status, error) {
  if (error?.code === "stream_disabled") {
    badge("idle", "not live: the stream is off");
    return;
  }
  if (status === "refused") {
    signOut(error.status === 401 ? "Your session has ended. Sign in again." : error.message);
    return;
  }
  badge(...CONNECTION[status]);
}

function badge(kind, text) {
  const element = $("connection");
  if (element.textContent !== text) element.textContent = text;
  element.dataset.state = kind;
}

function showState(loaded) {
  state.subscriptions = new Map(loaded.subscriptions.map((each) => [each.subscription_id, each]));
  // Both say the same of an invoice; the state was read first, and the stream brings what is newer.
  state.invoices = new Map([...loaded.recent, ...loaded.invoices].map((each) => [each.invoice_id, each]));
  state.usage = new Map(loaded.usage.map((each) => [each.line_id, each]));
  showAccess(loaded.access);
  showSections();
  $("feed").replaceChildren();
  for (const event of loaded.history) {
    if (event.sequence <= loaded.sequence) addToFeed(event, false);
  }
}

function showEvent(event) {
  if (event.subscription) state.subscriptions.set(event.subscription.subscription_id, event.subscription);
  if (event.invoice?.status === "deleted") state.invoices.delete(event.invoice.invoice_id);
  else if (event.invoice) state.invoices.set(event.invoice.invoice_id, event.invoice);
  for (const record of event.usage) state.usage.set(record.line_id, record);
  showAccess(event.access);
  showSections();
  addToFeed(event, true);
}

function showAccess(access) {
  $("access").dataset.state = access.state;
  $("access-state").textContent = words(access.state);
  const until = access.until ? ` until ${day(access.until)}` : "";
  $("access-reason").textContent = `${words(access.reason)}${until}`;
}

function showSections() {
  showSubscriptions();
  showInvoices();
  showUsage();
}

function showSubscriptions() {
  const ended = (each) => Number(each.status === "canceled" || each.status === "incomplete_expired");
  const all = [...state.subscriptions.values()].sort(
    (a, b) => ended(a) - ended(b) || (b.current_period_end ?? "").localeCompare(a.current_period_end ?? ""),
  );
  $("no-subscription").hidden = all.length > 0;
  $("subscriptions").replaceChildren(...all.map(subscriptionCard));
}

function subscriptionCard(each) {
  const facts = [
    ["Seats", each.seat_count === null ? "–" : count(each.seat_count)],
    ["Period", `${day(each.current_period_start)} – ${day(each.current_period_end)}`],
    [...renewal(each)],
  ];
  if (each.status === "trialing") facts.push(["Trial ends", day(each.trial_ends_at)]);
  if (each.collection_paused) facts.push(["Collection", "Paused"]);
  const list = element("dl", "facts");
  for (const [name, value] of facts) list.append(element("div", "", element("dt", "", name), element("dd", "", value)));
  const title = element("h3", "", element("span", "", each.plan_code ?? each.price_id ?? "Plan unknown"));
  title.append(pill(each.status));
  return element("article", "subscription", title, list);
}

function renewal(each) {
  if (each.ended_at) return ["Ended", day(each.ended_at)];
  if (each.cancel_at) return ["Ends", day(each.cancel_at)];
  if (each.cancel_at_period_end) return ["Ends", day(each.current_period_end)];
  return ["Renews", each.auto_renew ? day(each.current_period_end) : "No"];
}

function showInvoices() {
  const newest = (each) => each.period_end ?? each.paid_at ?? each.due_at ?? "";
  const all = [...state.invoices.values()].sort((a, b) => newest(b).localeCompare(newest(a)));
  $("no-invoices").hidden = all.length > 0;
  $("invoice-table").hidden = all.length === 0;
  $("invoices").replaceChildren(...all.slice(0, MOST_INVOICES).map(invoiceRow));
}

function invoiceRow(each) {
  const name = each.number ?? each.invoice_id;
  const url = stripeUrl(each.hosted_invoice_url);
  const first = element("td", "");
  if (url) {
    const link = element("a", "", name);
    link.href = url;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    first.append(link);
  } else {
    first.textContent = name;
  }
  return element(
    "tr",
    "",
    first,
    element("td", "", pill(each.status)),
    element("td", "", day(each.paid_at ?? each.due_at ?? each.next_payment_attempt_at ?? each.period_end)),
    element("td", "number", money(each.total, each.currency)),
    element("td", "number", money(each.amount_remaining, each.currency)),
  );
}

/** Only Stripe's own pages are linked, and only over https. */
function stripeUrl(text) {
  try {
    const url = new URL(text);
    const stripe = url.hostname === "stripe.com" || url.hostname.endsWith(".stripe.com");
    return url.protocol === "https:" && stripe ? url.href : null;
  } catch {
    return null;
  }
}

/** The newest period of each feature, the biggest amount as the full width. */
function showUsage() {
  const newest = new Map();
  for (const record of state.usage.values()) {
    const known = newest.get(record.feature_key);
    if (!known || (record.period_end ?? "") > (known.period_end ?? "")) newest.set(record.feature_key, record);
  }
  const all = [...newest.values()].sort((a, b) => a.feature_key.localeCompare(b.feature_key));
  const most = Math.max(1, ...all.map((record) => record.quantity));
  $("no-usage").hidden = all.length > 0;
  $("usage").replaceChildren(
    ...all.map((record) => {
      const meter = element("meter", "");
      meter.max = most;
      meter.value = record.quantity;
      meter.setAttribute("aria-label", `${record.feature_key}: ${count(record.quantity)}`);
      const line = element(
        "p",
        "",
        element("strong", "", record.feature_key),
        element("span", "quiet", `${count(record.quantity)} · ${money(record.amount, record.currency)}`),
      );
      return element("li", "", line, meter, element("p", "quiet", `until ${day(record.period_end)}`));
    }),
  );
}

function addToFeed(event, fresh) {
  const time = element("time", "quiet", moment(event.occurred_at));
  time.dateTime = event.occurred_at;
  const line = element(
    "p",
    "",
    element("span", "sequence", `#${event.sequence}`),
    element("strong", "", words(event.event_type)),
    time,
  );
  const item = element("li", fresh ? "fresh" : "", line, element("p", "", event.summary));
  const feed = $("feed");
  feed.prepend(item);
  while (feed.childElementCount > MOST_IN_FEED) feed.lastElementChild.remove();
  $("no-events").hidden = true;
}

// --- building --------------------------------------------------------------------------------------------------------

const GOOD = ["active", "trialing", "paid"];
const BAD = ["past_due", "unpaid", "uncollectible", "canceled", "incomplete_expired", "void"];

function pill(status) {
  const made = element("span", "pill", words(status));
  made.dataset.tone = GOOD.includes(status) ? "good" : BAD.includes(status) ? "bad" : "neutral";
  return made;
}

/** An element with children; strings become text, never markup. */
function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn($("token").value.trim());
  $("token").value = "";
});
$("sign-out").addEventListener("click", () => signOut());

const kept = sessionStorage.getItem(TOKEN);
if (kept) signIn(kept);
else signOut();
