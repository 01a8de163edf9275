// What changed or would change: fields before and after, by object and by tenant.

import { element, foreign } from "../dom.js";
import { code, quiet, row, table } from "./parts.js";
import { moment } from "./times.js";

const FIELDS = [
  ["Field", "code whole"],
  ["Before and after", "diff whole"],
];

export function changeTable(changes) {
  return table(
    FIELDS,
    changes.map((each) => row(FIELDS, [code(each.field), beforeAndAfter(each)])),
    "list fold fields",
  );
}

/** Show a field's value before and after; personal values are hidden by the server. */
export function beforeAndAfter({ before, after, hidden }) {
  if (hidden) return quiet("changed, hidden");
  const from = before === null ? quiet("none") : element("del", "", foreign(asText(before)));
  const to = after === null ? quiet("none") : element("ins", "", foreign(asText(after)));
  return element("span", "", from, " ", arrow(), " ", to);
}

/** An arrow that a screen reader reads as a word. */
export function arrow() {
  const made = element("span", "to", "→");
  made.setAttribute("aria-hidden", "true");
  return element("span", "", made, element("span", "unseen", "to"));
}

/** Return a value as text; an instant in the reader's zone. */
export function asText(value) {
  if (typeof value !== "string") return JSON.stringify(value);
  return INSTANT.test(value) ? moment(value) : value;
}

const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|\+00:00)$/;

/** Show what would change of several objects. */
export function differences(found) {
  const parts = found.map(({ object_id, changes }) => {
    const fields = changes.map((each) => element("div", "", code(each.field), " ", beforeAndAfter(each)));
    return element("li", "diff", code(object_id), ...fields);
  });
  return element("ul", "differences", ...parts);
}
