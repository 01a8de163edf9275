// What an operator may do to events, bodies, links and grants. Each asks for a reason, which the audit log keeps.

import { element } from "../dom.js";
import { count } from "../format.js";
import { differences } from "./changes.js";
import { check, field, openDialog } from "./dialog.js";
import { asBody } from "./filters.js";
import { plural, quiet } from "./parts.js";
import { get, post } from "./session.js";
import { day } from "./times.js";

const events = (number) => `${count(number)} ${plural(number, "event")}`;

// --- events ----------------------------------------------------------------------------------------------------------

export function offerToIgnore(chosen, onDone) {
  openDialog({
    title: "Ignore events",
    intro: "They end as ignored and are not tried again. A replay can still process them.",
    preview: async () => {
      const { matched, filter, fingerprint } = await post("/ignore/dry-run", { filter: asBody(chosen) });
      const content = [quiet(matched === 1 ? "1 event matches now." : `${events(matched)} match now.`)];
      return { content, seen: { filter, confirm: matched, fingerprint }, action: `Ignore ${events(matched)}` };
    },
    onDone,
    submit: async ({ why }, seen) => {
      const { ignored, left } = await post("/ignore", { ...seen, why });
      const rest = left === 0 ? "" : ` ${events(left)} ${plural(left, "was", "were")} left: applied or in progress.`;
      return `${events(ignored)} ${plural(ignored, "was", "were")} ignored.${rest}`;
    },
  });
}

export function revealBody({ number, event_id }, onShown) {
  let content = null;
  openDialog({
    title: "Show personal data",
    intro: `The whole body of ${event_id} is shown on this page. The audit log records that you read it.`,
    action: "Show",
    submit: async ({ why }) => {
      ({ content } = await post(`/events/${number}/body`, { why }));
      return "The body is shown.";
    },
    onDone: () => onShown(content),
  });
}

// --- links -----------------------------------------------------------------------------------------------------------

export function offerToLink({ customer = "", tenant = "" }, onDone) {
  openDialog({
    title: "Link a customer",
    intro: "Events that wait for this link are processed at once.",
    fields: [
      field("customer_id", "Customer", { value: customer, hint: "The id from Stripe: cus_…" }),
      field("tenant_id", "Tenant", { value: tenant }),
      check("create", "The tenant is new", { hint: "Billing has never seen this tenant’s id." }),
    ],
    action: "Link",
    onDone,
    submit: async ({ customer_id, tenant_id, create, why }) => {
      const { made } = await post("/links", { customer_id, tenant_id, create, why });
      return made ? `${customer_id} is linked to ${tenant_id}.` : `${customer_id} was linked to ${tenant_id} already.`;
    },
  });
}

const keepHistory = () =>
  check("keep_history", "Keep the history", { hint: "The former tenant keeps its messages. Off: they are withdrawn." });

export function offerToMove(objectId, onDone) {
  openDialog({
    title: `Move ${objectId}`,
    intro: "Its subscriptions, invoices and usage move with it.",
    fields: [
      field("to_tenant", "To tenant", {}),
      check("create", "The tenant is new", { hint: "Billing has never seen this tenant’s id." }),
      keepHistory(),
    ],
    preview: ({ to_tenant, keep_history }) =>
      previewOf("/links/move/dry-run", { object_id: objectId, to_tenant, keep_history }, `Move to ${to_tenant}`),
    onDone,
    submit: async ({ to_tenant, keep_history, create, why }, seen) => {
      await post("/links/move", { object_id: objectId, to_tenant, keep_history, create, ...seen, why });
      return `${objectId} belongs to ${to_tenant} now.`;
    },
  });
}

export function offerToUnlink(objectId, tenant, onDone) {
  openDialog({
    title: `Unlink ${objectId} from ${tenant}`,
    intro: "Its events wait until it is linked again.",
    fields: [keepHistory()],
    preview: ({ keep_history }) =>
      previewOf("/links/unlink/dry-run", { object_id: objectId, from_tenant: tenant, keep_history }, "Unlink"),
    onDone,
    submit: async ({ keep_history, why }, seen) => {
      await post("/links/unlink", { object_id: objectId, from_tenant: tenant, keep_history, ...seen, why });
      return `${objectId} belongs to no tenant now.`;
    },
  });
}

/** Return what a change of a link would do, and what confirms that very change. */
async function previewOf(path, body, action) {
  const found = await post(path, body);
  const { withdrawn_messages: withdrawn, reprocessed_events: again, messages } = found;
  const notes = [
    `${count(messages.length)} ${plural(messages.length, "message")} would be published`,
    ...(withdrawn === 0 ? [] : [`${count(withdrawn)} withdrawn`]),
    ...(again === 0 ? [] : [`${events(again)} processed again`]),
  ];
  const shown = found.differences.length === 0 ? quiet("No state changes.") : differences(found.differences);
  return {
    content: [
      element("p", "", "Nothing has been changed. This is what would happen."),
      shown,
      quiet(`${notes.join(", ")}.`),
    ],
    seen: { confirm: found.differences.length, fingerprint: found.fingerprint },
    action,
  };
}

// --- grants ----------------------------------------------------------------------------------------------------------

export function offerToGrant(tenant, onDone) {
  openDialog({
    title: `Grant access to ${tenant}`,
    intro: "A grant gives the access of a plan without a subscription.",
    fields: [
      planField(),
      field("until", "Until", { type: "date", required: false, hint: "The last day. Empty: until it is revoked." }),
    ],
    action: "Grant access",
    onDone,
    submit: async ({ plan_code, until, why }) => {
      const end = until === "" ? null : endOfDay(until);
      await post(`/tenants/${encodeURIComponent(tenant)}/grants`, { plan_code, until: end, create: false, why });
      return end === null ? `${tenant} has plan ${plan_code}.` : `${tenant} has plan ${plan_code} until ${day(end)}.`;
    },
  });
}

/** Create a field that suggests the plans of the catalog. The server checks the code. */
function planField() {
  const made = field("plan_code", "Plan");
  const known = element("datalist", "");
  known.id = "plans";
  made.querySelector("input").setAttribute("list", known.id);
  const suggest = ({ plans }) => known.append(...plans.map((each) => new Option(each.name ?? "", each.plan_code)));
  get("/plans").then(suggest, () => {}); // without suggestions, the code is typed
  made.append(known);
  return made;
}

/** Return the end of a day of the reader's zone as an instant. */
function endOfDay(text) {
  const [year, month, date] = text.split("-").map(Number);
  return new Date(year, month - 1, date, 23, 59, 59).toISOString();
}

export function offerToRevoke({ grant_id, tenant_id, plan_code }, onDone) {
  openDialog({
    title: `End the grant of ${plan_code}`,
    intro: `${tenant_id} keeps only what its subscriptions and other grants give.`,
    action: "End now",
    onDone,
    submit: async ({ why }) => {
      const { changed } = await post(`/grants/${encodeURIComponent(grant_id)}/revoke`, { why });
      return changed ? "The grant has ended." : "The grant had ended already.";
    },
  });
}

// --- replays ---------------------------------------------------------------------------------------------------------

export function offerToCancel({ audit_id, seen, matched }, onDone) {
  openDialog({
    title: "Cancel the replay",
    intro: `${count(seen)} of ${events(matched)} are processed. It stops after the batch in progress; nothing is undone.`,
    action: "Cancel the replay",
    onDone,
    submit: async ({ why }) => {
      await post(`/replays/${audit_id}/cancel`, { why });
      return "The replay stops after the batch in progress.";
    },
  });
}
