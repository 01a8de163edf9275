// The operator's page: signing in, the views, and the live feed that keeps them up to date.

import { $, setText } from "../dom.js";
import { auditView } from "./audit.js";
import { eventView } from "./event.js";
import { eventsView } from "./events.js";
import { LiveFeed } from "./live.js";
import { overviewView } from "./overview.js";
import { replayView } from "./replay.js";
import { Router } from "./router.js";
import { ApiError, get, session } from "./session.js";
import { tenantView } from "./tenant.js";
import { forgetSearch, tenantsView } from "./tenants.js";
import { clock } from "./times.js";

const LIVE = "Live";
const FLICKER = 2000; // milliseconds that a lost connection may take to come back before it is shown
const SOON = 5 * 60_000; // milliseconds before the end of a token from which the page says so
const LONGEST_TIMER = 2 ** 31 - 1;
const RETRY = 5000; // milliseconds after which a server that did not answer is asked again

const router = new Router({
  views: [
    [/^\/ops\/?$/, overviewView],
    [/^\/ops\/events$/, eventsView],
    [/^\/ops\/events\/([^/]+)$/, eventView],
    [/^\/ops\/tenants$/, tenantsView],
    [/^\/ops\/tenants\/([^/]+)$/, tenantView],
    [/^\/ops\/replay$/, replayView],
    [/^\/ops\/audit$/, auditView],
  ],
  main: $("content"),
  onRefused: (error) => signOut(sentence(error)),
  onShown: (path) => {
    markView(path);
    updated();
  },
  onStale: outdated,
});
const feed = new LiveFeed({ onOpen: connected, onFrame: heard, onLost: disconnected });
let lost; // the timer that shows a lost connection
let expiry; // the timer that says that the token ends soon
let retry; // the timer that signs in again
let isConnected = false;
let updatedAt = null; // when what is shown was right

// --- signing in ------------------------------------------------------------------------------------------------------

const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Return whether the token signs in. */
async function signIn(token) {
  if (!TOKEN.test(token)) return signOut("That is not a token. A token has three parts, separated by dots.");
  session.token = token;
  let operator;
  try {
    operator = await get("/session");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (session.token !== token) return false; // signed out meanwhile
    if (isRefusal(error) || error.status === 404) return signOut(sentence(error));
    return signInLater(token, error);
  }
  $("operator").textContent = operator.subject;
  expectEnd(operator.expires_at);
  show(true);
  connection("wait", "Connecting");
  await router.start();
  if (session.token !== token) return false; // signed out meanwhile
  feed.start();
  return true;
}

/** Keep the token while the server does not answer, and try again; another token can be pasted meanwhile. */
function signInLater(token, error) {
  signOut(`${error.message} Your token is kept, and the page tries again every few seconds.`);
  session.token = token;
  retry = setTimeout(() => signIn(token), RETRY);
  return false;
}

/** Say soon before a token ends that it does: with it end the page and what is being typed. */
function expectEnd(instant) {
  clearTimeout(expiry);
  const wait = Date.parse(instant) - Date.now() - SOON;
  if (wait > LONGEST_TIMER) return;
  expiry = setTimeout(() => setText($("expiry"), `Your token ends at ${clock(instant)}`), Math.max(0, wait));
}

function signOut(reason = "") {
  feed.stop();
  router.stop();
  clearTimeout(lost);
  clearTimeout(retry);
  clearTimeout(expiry);
  setText($("expiry"), "");
  isConnected = false;
  session.token = null;
  forgetSearch();
  $("operator").textContent = "";
  document.querySelector("dialog[open]")?.close();
  show(false);
  setText($("sign-in-reason"), reason);
  connection("none", "Not signed in");
  return false;
}

function show(signedIn) {
  for (const id of ["views", "sign-out", "content"]) $(id).hidden = !signedIn;
  $("signed-out").hidden = signedIn;
}

const isRefusal = ({ status }) => status === 401 || status === 403;
const sentence = (error) => (error.status === 401 ? `${error.message} Sign in with another one.` : error.message);

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  clearTimeout(retry);
  setText($("sign-in-reason"), "");
  const token = $("token").value.trim();
  $("token").value = "";
  if (await signIn(token)) $("content").focus();
  else $("token").focus();
});
$("token").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey) return;
  event.preventDefault();
  $("sign-in").requestSubmit();
});
$("sign-out").addEventListener("click", () => {
  signOut();
  $("token").focus();
});

// --- live ------------------------------------------------------------------------------------------------------------

function connected() {
  clearTimeout(lost);
  if ($("connection").textContent !== LIVE) router.refresh();
  isConnected = true;
  connection("good", LIVE);
}

function heard(name, data) {
  if (name === "unavailable") return outdated();
  if (isConnected) connection("good", LIVE);
  router.heard(name, data);
}

function disconnected(error) {
  isConnected = false;
  if (error !== undefined && isRefusal(error)) return signOut(sentence(error));
  const since = new Date().toISOString();
  clearTimeout(lost);
  if ($("connection").textContent !== LIVE) notLive(since);
  else lost = setTimeout(() => notLive(since), FLICKER);
  router.refresh(); // a proxy may let everything through but streams
}

const NOT_LIVE = "Not live, as of";
const notLive = (since) => connection("wait", `${NOT_LIVE} ${clock(since)}`);

/** The view shows what the server has just answered. */
function updated() {
  updatedAt = new Date().toISOString();
  if (isConnected) connection("good", LIVE);
  else if ($("connection").textContent.startsWith(NOT_LIVE)) notLive(updatedAt);
}

/** The server is there, and cannot say what is new. */
function outdated() {
  if (isConnected && updatedAt !== null) connection("wait", `Not updated since ${clock(updatedAt)}`);
}

function connection(tone, text) {
  $("connection").dataset.tone = tone;
  setText($("connection"), text);
}

// --- where we are ----------------------------------------------------------------------------------------------------

/** Mark the view in the navigation that an address belongs to. */
function markView(path) {
  for (const anchor of $("views").children) {
    const own = anchor.getAttribute("href");
    const here = own === "/ops" ? /^\/ops\/?$/.test(path) : path === own || path.startsWith(`${own}/`);
    if (here) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

/** Move between the rows of a list with the arrow keys, once a row's link has the focus. */
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const focused = document.activeElement?.closest?.(".list tbody tr");
  if (!step || !focused || document.activeElement.localName !== "a") return;
  const rows = [...focused.parentElement.children].filter((each) => each.querySelector("a") !== null);
  const next = rows[rows.indexOf(focused) + step];
  if (!next) return;
  event.preventDefault();
  next.querySelector("a").focus();
});

if (session.token === null) signOut();
else signIn(session.token);
