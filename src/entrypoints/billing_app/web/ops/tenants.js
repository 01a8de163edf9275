// The list of customers and their tenants: a search, and customers without a link.

import { element } from "../dom.js";
import { count } from "../format.js";
import { offerToLink } from "./actions.js";
import { filterForm, typedField, withQuery } from "./filters.js";
import { button, choice, code, link, quiet, row, table, tenantLink } from "./parts.js";
import { get, post } from "./session.js";
import { accessState } from "./words.js";

const PAGE = 50;
const LINKED = [
  ["", "All"],
  ["true", "Linked"],
  ["false", "Not linked"],
];
const COLUMNS = [
  ["Tenant", "tenant"],
  ["Customer", "whole"],
  ["Plans", "whole"],
  ["Access", "top-right"],
  ["Waiting events", "number skip-small"],
  ["Dead events", "number skip-small"],
];

let sought = ""; // kept here and not in the address: it may be an e-mail address, and addresses are logged

/** Forget what was searched for: another operator may sign in. */
export function forgetSearch() {
  sought = "";
}

export async function tenantsView(page) {
  const { customers, next_after } = await find(page);
  const linkOne = button("Link a customer…", () => offerToLink({}, page.again));
  const title = element("div", "title", element("h1", "", "Tenants"), element("div", "buttons", linkOne));
  const found =
    customers.length === 0
      ? element("p", "empty", "No customer matches. An e-mail address has to be given in full.")
      : table(
          COLUMNS,
          customers.map((each) => customerRow(page, each)),
        );
  return { title: "Tenants", content: [title, element("div", "", filters(page), found, foot(page, next_after))] };
}

function find(page) {
  const [linked, after] = ["linked", "after"].map((name) => page.query.get(name));
  if (sought === "") return get("/tenants", { linked, after, limit: PAGE }, page.signal);
  const asked = { text: sought, linked: linked === null ? null : linked === "true", after, limit: PAGE };
  return post("/tenant-search", asked, page.signal);
}

function filters(page) {
  const show = (linked) => page.go(`${page.path}${withQuery(page.query, { linked })}`, { replace: true });
  const search = (text) => {
    sought = text;
    show(page.query.get("linked"));
  };
  const input = typedField("search", page, {
    title: "Search tenants",
    placeholder: "Beginning of a tenant or customer, or an e-mail address",
    before: sought,
    search,
  });
  const choose = (linked) => {
    sought = input.value.trim();
    show(linked);
  };
  return filterForm(input, choice("linked", "Link", LINKED, page.query.get("linked") ?? "", choose));
}

function customerRow(page, each) {
  const unlinked = () => button("Link…", () => offerToLink({ customer: each.customer_id }, page.again), "link");
  return row(COLUMNS, [
    each.tenant_id === null ? [quiet("none "), unlinked()] : tenantLink(each.tenant_id),
    code(each.customer_id),
    each.plans.length === 0 ? quiet(each.statuses.join(", ") || "none") : element("bdi", "", each.plans.join(", ")),
    each.access === null ? quiet("none yet") : accessState({ state: each.access }),
    eventCount(each, each.waiting_events, "parked"),
    eventCount(each, each.dead_events, "dead"),
  ]);
}

function eventCount({ customer_id }, number, status) {
  if (number === 0) return quiet("0");
  return link(`/ops/events?q=${encodeURIComponent(customer_id)}&status=${status}&since=all`, count(number));
}

function foot(page, next) {
  const made = element("div", "foot", element("span", ""));
  const buttons = element("div", "buttons");
  if (page.query.has("after")) buttons.append(link(`${page.path}${withQuery(page.query, {})}`, "First", "button"));
  if (next !== null) buttons.append(link(`${page.path}${withQuery(page.query, { after: next })}`, "Next", "button"));
  made.append(buttons);
  return made;
}
