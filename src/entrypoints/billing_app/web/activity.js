// The page around <billing-activity>: signing in with a token, which stays in this tab, and signing out.

import "./billing-activity.js";
import { $, setText } from "./dom.js";

const TOKEN = "billing-token";
const activity = $("activity");

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
  show(tenant);
  activity.setAttribute("tenant", tenant);
  activity.token = token;
}

function signOut(reason = "") {
  activity.token = null;
  sessionStorage.removeItem(TOKEN);
  show(null);
  setText($("sign-in-reason"), reason);
}

function show(tenant) {
  $("tenant").textContent = tenant ?? "";
  $("signed-out").hidden = tenant !== null;
  for (const id of ["signed-in", "sign-out", "slash"]) $(id).hidden = tenant === null;
}

activity.addEventListener("billing-refused", ({ detail: error }) => {
  signOut(error.status === 401 ? "Your session has ended. Sign in with a new token." : error.message);
});
$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn($("token").value.trim());
  $("token").value = "";
  $($("signed-in").hidden ? "token" : "signed-in").focus();
});
$("token").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey) return; // a token has one line
  event.preventDefault();
  $("sign-in").requestSubmit();
});
$("sign-out").addEventListener("click", () => {
  signOut();
  $("token").focus();
});

const saved = sessionStorage.getItem(TOKEN);
if (saved) signIn(saved);
else signOut();
