// What a new tenant sees: how its first event gets here. It is for who sets billing up, so it is in English only.

import { element, foreign } from "../dom.js";

/** Return the steps from nothing to the first event. */
export function startOf(tenant) {
  const step = (title, text, ...command) => {
    const said = [element("b", "", title), " ", element("span", "quiet", text)];
    return element("li", "", element("div", "", ...said, code(title, ...command)));
  };
  return [
    element(
      "div",
      "",
      element("h2", "", "Nothing has been billed yet"),
      element("p", "quiet", "This page updates itself as soon as Stripe reports an event for this tenant."),
    ),
    element(
      "ol",
      "",
      step("Let Stripe’s events in.", "Once, and with a second command while you develop:", "billing stripe setup\nbilling stripe listen"),
      step("Say whose they are.", "In the metadata of the subscription or the customer:", "tenant_id = ", foreign(tenant)),
      step("Or link a customer by hand.", "Events that came before the link are applied then.", "billing tenants link cus_… ", foreign(tenant)),
    ),
  ];
}

function code(name, ...content) {
  const made = element("pre", "", element("code", "", ...content));
  made.tabIndex = 0;
  made.setAttribute("role", "region");
  made.setAttribute("aria-label", name);
  return made;
}
