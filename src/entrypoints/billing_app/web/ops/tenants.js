// The list of customers and their tenants: a search, and customers without a link.

import { element } from "../dom.js";
import { count } from "../format.js";
import { offerToLink } from "./actions.js";
import { chooser, filterForm, searchField, withQuery } from "./filters.js";
import { button, choice, code, link, quiet, row, table, tenantLink } from "./parts.js";
import { get } from "./session.js";
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

export async function tenantsView(page) {
  const { query } = page;
  const [search, linked, after] = ["q", "linked", "after"].map((name) => query.get(name));
  const asked = { search, linked, after, limit: PAGE };
  const { customers, next_after } = await get("/tenants", asked, page.signal);
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

function filters(page) {
  return filterForm(
    searchField(page, "Search tenants", "Beginning of a tenant or customer, or an e-mail address"),
    choice("linked", "Link", LINKED, page.query.get("linked") ?? "", chooser(page, "linked", "")),
  );
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
