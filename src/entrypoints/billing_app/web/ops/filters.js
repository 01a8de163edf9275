// The filter of a list of events. It lives in the address, so that a link shares the view.

import { element } from "../dom.js";
import { count } from "../format.js";
import { choice, select } from "./parts.js";

export const STATUSES = [
  ["applied", "Applied"],
  ["ignored", "Ignored"],
  ["due", "Due"],
  ["parked", "Parked"],
  ["dead", "Dead"],
];
export const SINCE = [
  ["1h", "Last hour"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
  ["all", "Any time"],
];
export const DEFAULT_SINCE = "24h";
const TYPING = 300; // milliseconds after the last key before a search begins
const LENGTHS = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const WORD = /^(event|tenant|customer|type):(.+)$/;
const EMAIL = /^[^@\s]+@[^@\s]+\.[^@\s]+$/;
const TYPE = /[*?]|^[a-z0-9_]+(\.[a-z0-9_]+)+$/;

/**
 * Return the filter of an address in the words of the API.
 *
 * A word of the search is an event (`evt_…`), a customer (`cus_…`), a type (`invoice.*`), or else a tenant; a prefix such
 * as `tenant:` says which.
 */
export function filterOf(query) {
  const filter = { ids: [], types: [], tenant: null, customer: null, statuses: [], reasons: [], since: null };
  for (const [kind, text] of wordsOf(query.get("q") ?? "")) {
    if (kind === "event") filter.ids.push(text);
    else if (kind === "type") filter.types.push(text);
    else filter[kind] = text;
  }
  const status = query.get("status");
  if (status !== null) filter.statuses = status === "due" ? ["due", "leased"] : [status];
  if (query.get("reason") !== null) filter.reasons = [query.get("reason")];
  const since = query.get("since") ?? DEFAULT_SINCE;
  filter.since = since === "all" ? null : since;
  return filter;
}

/** Return why a search cannot be carried out, as a sentence; "" if it can. */
export function faultOf(text) {
  const words = wordsOf(text);
  if (words.some(([kind, word]) => kind === "tenant" && EMAIL.test(word))) {
    return "Events are not found by an e-mail address. Find the tenant by it on the page Tenants.";
  }
  for (const kind of ["tenant", "customer"]) {
    const named = [...new Set(words.filter(([each]) => each === kind).map(([, word]) => word))];
    if (named.length > 1) return `A search takes one ${kind}, and these are ${named.length}: ${named.join(", ")}.`;
  }
  return "";
}

/** Return [kind, word] for each word of a search. */
function wordsOf(text) {
  const words = text.split(/\s+/).filter(Boolean);
  return words.map((word) => WORD.exec(word)?.slice(1) ?? [kindOf(word), word]);
}

function kindOf(word) {
  if (word.startsWith("evt_")) return "event";
  if (word.startsWith("cus_")) return "customer";
  return TYPE.test(word) ? "type" : "tenant";
}

/** Return a filter as query parameters of the API. */
export const asQuery = ({ ids, types, statuses, reasons, ...rest }) => ({
  id: ids,
  type: types,
  status: statuses,
  reason: reasons,
  ...rest,
});

/** Return a filter for the body of a request, where `since` is an instant. */
export function asBody(filter) {
  const [, number, unit] = /^([0-9]+)([mhd])$/.exec(filter.since ?? "") ?? [];
  if (!number) return filter;
  return { ...filter, since: new Date(Date.now() - Number(number) * LENGTHS[unit]).toISOString() };
}

/** Return the query of an address with other values; null removes one. The page of the list starts over. */
export function withQuery(query, changes) {
  const changed = new URLSearchParams(query);
  for (const page of ["before", "after"]) changed.delete(page);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") changed.delete(name);
    else changed.set(name, value);
  }
  const text = changed.toString();
  return text === "" ? "" : `?${text}`;
}

/** Create the search field. It searches when typing pauses, and at once with Enter. */
export function searchField(page, title, placeholder) {
  const before = page.query.get("q") ?? "";
  const search = (text, input) => {
    const email = EMAIL.test(text); // it would be in the address, and in the log of requests
    input.setCustomValidity(email ? faultOf(text) : "");
    if (email) input.reportValidity();
    else go(text);
  };
  const go = (text) => page.go(`${page.path}${withQuery(page.query, { q: text })}`, { replace: true });
  return typedField("q", page, { title, placeholder, before, search });
}

/** Create a search field that calls `search` when its text is not the one of `before` any more. */
export function typedField(name, page, { title, placeholder, before, search }) {
  const input = element("input", "");
  Object.assign(input, { type: "search", name, placeholder, value: before, ariaLabel: title });
  input.setAttribute("aria-label", title);
  input.autocomplete = "off";
  input.spellcheck = false;
  let timer;
  const begin = () => {
    clearTimeout(timer);
    const text = input.value.trim();
    if (text !== before && !page.signal.aborted) search(text, input);
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(begin, TYPING);
  });
  input.addEventListener("keydown", (event) => event.key === "Enter" && begin());
  return input;
}

/** Create the form of a list's filters: its controls show the address, and change it. */
export function filterForm(...controls) {
  const form = element("form", "filters", ...controls);
  form.setAttribute("role", "search");
  form.addEventListener("submit", (event) => event.preventDefault());
  return form;
}

/** Return a function that puts a value of a filter into the address, with what is typed into the search meanwhile. */
export const chooser = (page, name, standard) => (value) => {
  const q = document.querySelector(".filters [name=q]")?.value.trim() ?? null;
  const changed = withQuery(page.query, { q, [name]: value === standard ? null : value });
  page.go(`${page.path}${changed}`, { replace: true });
};

/** Create the filters of events: search, status with counts, reason and time. */
export function eventFilters(page, { counts = null, reasons = [] } = {}) {
  const { query } = page;
  const numbers = (status) => (counts === null ? null : count(counts.of(status)));
  const statuses = [["", "All"], ...STATUSES.map(([value, text]) => [value, text, numbers(value)])];
  const [status, reason] = [query.get("status") ?? "", query.get("reason") ?? ""];
  const known = [...new Set([...reasons, reason])].filter(Boolean).sort();
  const since = query.get("since") ?? DEFAULT_SINCE;
  return filterForm(
    searchField(page, "Search events", "Event, tenant, customer or type, such as invoice.*"),
    choice("status", "Status", statuses, status, chooser(page, "status", "")),
    select("Reason", [["", "Any reason"], ...known.map((each) => [each, each])], reason, chooser(page, "reason", "")),
    select("Received", SINCE, since, chooser(page, "since", DEFAULT_SINCE)),
  );
}
