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
import { tenantsView } from "./tenants.js";
import { clock } from "./times.js";

const FLICKER = 2000; // milliseconds that a lost connection may take to come back before it is shown

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
  onShown: markView,
});
const feed = new LiveFeed({ onOpen: connected, onFrame: heard, onLost: disconnected });
let lost; // the timer that shows a lost connection

// --- signing in ------------------------------------------------------------------------------------------------------

const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Return whether the token signs in. */
async function signIn(token) {
  if (!TOKEN.test(token)) return signOut("That is not a token. A token has three parts, separated by dots.");
  session.token = token;
  setText($("sign-in-reason"), "");
  let operator;
  try {
    operator = await get("/session");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return signOut(sentence(error));
  }
  $("operator").textContent = operator.subject;
  show(true);
  connection("wait", "Connecting");
  await router.start();
  if (session.token !== token) return false; // signed out meanwhile
  feed.start();
  return true;
}

function signOut(reason = "") {
  feed.stop();
  router.stop();
  clearTimeout(lost);
  session.token = null;
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

const sentence = (error) =>
  error.status === 401 ? "The token is not valid, or it has expired. Sign in with a new one." : error.message;

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
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
  if ($("connection").textContent !== "Live") router.refresh();
  connection("good", "Live");
}

function heard(name, data) {
  router.heard(name, data);
}

function disconnected(error) {
  if (error?.status === 401 || error?.status === 403) return signOut(sentence(error));
  const since = clock(new Date().toISOString());
  clearTimeout(lost);
  if ($("connection").textContent !== "Live") connection("wait", `Not live, as of ${since}`);
  else lost = setTimeout(() => connection("wait", `Not live, as of ${since}`), FLICKER);
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
