// The Billing Activity page: a tenant's state, kept up to date by its stream.
//
// Text from customers or Stripe reaches the page through textContent only.

import { BillingStream } from "./billing-stream.js";
import { showAccess, showEntitlements, showInvoices, showSubscriptions, showUsage } from "./cards.js";
import { $, setText } from "./dom.js";
import { Feed } from "./feed.js";

const TOKEN = "billing-token";
const PAGE = 50;
const MINUTE = 60_000;
const DAY = 86_400_000;
const BETWEEN_READINGS = 300; // milliseconds between two readings of entitlements while messages arrive
const MOST_READINGS = 20; // until the server has seen a message that the page has

const feed = new Feed();
const state = { subscriptions: new Map(), invoices: new Map(), usage: new Map() };
let stream = null;
let base = ""; // of the tenant's URLs
let pending = 0; // the animation frame that will draw
let ending; // the timer that reloads access when it ends
let reading = false; // whether entitlements are being read again

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
  if (tenant === null) return signOut("That is not a token. A token has three parts, separated by dots.");
  sessionStorage.setItem(TOKEN, token);
  for (const id of ["tenant", "start-tenant", "link-tenant"]) $(id).textContent = tenant;
  $("signed-out").hidden = true;
  $("signed-in").hidden = false;
  $("sign-out").hidden = false;
  base = `/api/v1/billing/tenants/${encodeURIComponent(tenant)}`;
  stream = new BillingStream({
    url: "/api/v1/billing/stream",
    token,
    load,
    onState: showState,
    onEvent: showEvent,
    onStatus: showStatus,
  });
  stream.start();
}

function signOut(reason = "") {
  clearTimeout(ending);
  cancelAnimationFrame(pending);
  pending = 0;
  stream?.stop();
  stream = null;
  sessionStorage.removeItem(TOKEN);
  $("tenant").textContent = "";
  $("signed-out").hidden = false;
  $("signed-in").hidden = true;
  $("sign-out").hidden = true;
  setText($("sign-in-reason"), reason);
  badge("idle", "not signed in");
}

// --- loading ---------------------------------------------------------------------------------------------------------

/** Load the state, and what the page shows beside it: settled invoices, earlier usage and the last messages. */
async function load(get) {
  const current = await get(`${base}/state`);
  const [{ invoices }, { usage }, entitlements, history] = await Promise.all([
    get(`${base}/invoices?limit=50`),
    get(`${base}/usage?limit=200`),
    get(`${base}/entitlements`),
    page(get, current.sequence),
  ]);
  return { ...current, settled: invoices, billed: usage, entitlements, history };
}

/** Get the last messages up to a number. */
async function page(get, last) {
  const { events } = await get(`${base}/events?after=${Math.max(0, last - PAGE)}&limit=${PAGE}`);
  return events.filter((message) => message.sequence <= last);
}

/** Read entitlements again, which no message carries, until they are as new as the last message. */
async function reloadEntitlements() {
  if (reading) return;
  reading = true;
  const session = stream;
  for (let left = MOST_READINGS; left > 0; left -= 1) {
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_READINGS));
    if (session !== stream) break;
    const loaded = await session.get(`${base}/entitlements`).catch(() => null); // the badge shows the connection
    if (session !== stream) break;
    if (loaded) state.entitlements = loaded;
    draw();
    if (loaded?.sequence >= state.sequence) break;
  }
  reading = false;
  if (stream !== null && stream !== session) reloadEntitlements(); // another tenant signed in meanwhile
}

/** Reload access when it ends, which sends no message. Wait a day at most, since clocks differ. */
function reloadAccessLater() {
  clearTimeout(ending);
  if (!state.access.until) return;
  const wait = Math.min(DAY, Math.max(MINUTE, Date.parse(state.access.until) - Date.now()));
  const session = stream;
  ending = setTimeout(async () => {
    const loaded = await session.get(`${base}/state`).catch(() => null); // the badge shows the state of the connection
    if (session !== stream) return;
    if (loaded?.sequence === state.sequence) state.access = loaded.access;
    draw();
    reloadEntitlements();
  }, wait);
}

async function showEarlier() {
  $("earlier").disabled = true;
  try {
    feed.extend(await page((url) => stream.get(url), feed.oldest - 1));
  } catch {
    // The badge shows the state of the connection; the button can be pressed again.
  } finally {
    $("earlier").disabled = false;
  }
}

// --- showing ---------------------------------------------------------------------------------------------------------

const CONNECTION = {
  loading: ["wait", "catching up"],
  "catching-up": ["wait", "catching up"],
  live: ["live", "live"],
  reconnecting: ["wait", "reconnecting"],
  offline: ["wait", "offline, reconnecting"],
};

function showStatus(status, error) {
  if (status === "connecting") return; // it would flicker with every attempt
  if (status !== "refused") badge(...CONNECTION[status]);
  else if (error.code === "stream_disabled") badge("idle", "not live: the stream is disabled");
  else signOut(error.status === 401 ? "Your session has ended. Sign in with a new token." : error.message);
}

function badge(kind, text) {
  setText($("connection"), text);
  $("connection").dataset.state = kind;
}

function showState(loaded) {
  state.subscriptions = new Map(loaded.subscriptions.map((each) => [each.subscription_id, each]));
  // Both lists may hold an invoice, with equal content; newer content comes by the stream.
  state.invoices = new Map([...loaded.settled, ...loaded.invoices].map((each) => [each.invoice_id, each]));
  state.usage = new Map([...loaded.billed, ...loaded.usage].map((each) => [each.line_id, each]));
  state.access = loaded.access;
  state.entitlements = loaded.entitlements;
  state.sequence = loaded.sequence;
  feed.reset(loaded.history);
  draw();
}

function showEvent(message) {
  const { subscription, invoice } = message;
  if (subscription) state.subscriptions.set(subscription.subscription_id, subscription);
  if (invoice?.status === "deleted") state.invoices.delete(invoice.invoice_id);
  else if (invoice) state.invoices.set(invoice.invoice_id, invoice);
  for (const [line, record] of state.usage) if (record.invoice_id === invoice?.invoice_id) state.usage.delete(line);
  for (const record of message.usage) state.usage.set(record.line_id, record);
  state.access = message.access;
  state.sequence = message.sequence;
  feed.add(message);
  if (!pending) pending = requestAnimationFrame(draw); // a burst is drawn once
  reloadEntitlements();
}

function draw() {
  cancelAnimationFrame(pending);
  pending = 0;
  const empty = state.sequence === 0 && state.subscriptions.size === 0;
  $("start").hidden = !empty;
  for (const id of ["subscriptions-card", "invoices-card", "usage-card"]) $(id).hidden = empty;
  showAccess(state.access);
  showSubscriptions(state.subscriptions.values());
  showEntitlements(empty ? [] : state.entitlements.features);
  showInvoices(state.invoices.values());
  showUsage(state.usage.values());
  reloadAccessLater();
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn($("token").value.trim());
  $("token").value = "";
  $(stream ? "signed-in" : "token").focus();
});
$("sign-out").addEventListener("click", () => {
  signOut();
  $("token").focus();
});
$("earlier").addEventListener("click", showEarlier);

const saved = sessionStorage.getItem(TOKEN);
if (saved) signIn(saved);
else signOut();
