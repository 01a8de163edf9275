// The parts that the operator's views are made of. Strings become text, never markup.

import { element, foreign, stateOf, timeOf } from "../dom.js";
import { clock, moment, stamp } from "./times.js";

/** A state is a dot and a word. Tones: good, wait, bad, accent and none. */
export const state = (tone, word) => stateOf(word, tone);

export const code = (text) => foreign(text, "code");
export const quiet = (...children) => element("span", "quiet", ...children);
export const below = (...children) => element("span", "below", ...children);
export const plural = (number, one, many = `${one}s`) => (number === 1 ? one : many);

/** Link to a view of this page, or to what `path` names. */
export function link(path, content, className = "") {
  const made = element("a", className, content);
  made.href = path;
  return made;
}

/** Return the address of an event, by our number or by Stripe's id; of several with one id, that leads to the newest. */
export const eventPath = (event) => `/ops/events/${encodeURIComponent(event)}`;
export const tenantPath = (tenantId) => `/ops/tenants/${encodeURIComponent(tenantId)}`;
export const tenantLink = (tenantId) => link(tenantPath(tenantId), foreign(tenantId));

/** Show an instant: `clock` within the list of a day, `stamp` beside other days. */
export function when(instant, format = stamp) {
  const made = timeOf(instant, format(instant));
  made.title = moment(instant);
  return made;
}

export const clockTime = (instant) => when(instant, clock);

/** Create a button. Tests and screen readers find it by its text. */
export function button(text, onClick, className = "") {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

/** Create a list of names and values; rows that are null are left out. */
export function pairs(rows) {
  const list = element("dl", "pairs");
  for (const row of rows) {
    if (row === null) continue;
    const [name, ...values] = row;
    list.append(element("dt", "", name), element("dd", "", ...values));
  }
  return list;
}

/** Create a section with a heading, and with `beside` at its end. */
export function section(id, title, beside, ...children) {
  return titled("section", "", id, title, beside, ...children);
}

/** Create a panel that stands beside the main column. */
export function panel(id, title, beside, ...children) {
  return titled("aside", "panel", id, title, beside, ...children);
}

function titled(name, className, id, title, beside, ...children) {
  const heading = element("h2", "", title);
  heading.id = `${id}-title`;
  const made = element(name, className, element("div", "head", heading, ...[beside ?? []].flat()), ...children);
  made.id = id;
  made.setAttribute("aria-labelledby", heading.id);
  return made;
}

/**
 * Create a table that folds into blocks on a phone.
 *
 * `columns` are [title, class]; `rows` are elements made by `row`.
 */
export function table(columns, rows, className = "list fold") {
  const heads = columns.map(([title, kind = ""]) => {
    const head = element("th", kind.includes("number") ? "number" : "", title);
    head.scope = "col";
    return head;
  });
  return element("table", className, element("thead", "", element("tr", "", ...heads)), element("tbody", "", ...rows));
}

/** Create a row: a cell per column with its class, whose `heading`-th is the row's heading. */
export function row(columns, contents, heading = 0) {
  const cells = contents.map((content, place) => {
    const made = element(place === heading ? "th" : "td", columns[place][1] ?? "", ...[content].flat());
    if (place === heading) made.scope = "row";
    return made;
  });
  return element("tr", "", ...cells);
}

/** Create radio buttons that look like one control. `options` are [value, text, count or null]. */
export function choice(name, title, options, chosen, onChoose) {
  const made = element("fieldset", "choice", element("legend", "unseen", title));
  for (const [value, text, number = null] of options) {
    const input = element("input", "");
    Object.assign(input, { type: "radio", name, value, checked: value === chosen });
    input.addEventListener("change", () => onChoose(value));
    made.append(element("label", "", input, text, ...(number === null ? [] : [element("span", "", number)])));
  }
  return made;
}

/** Create a list of options: [value, text]. */
export function select(title, options, chosen, onChoose = () => {}) {
  const made = element("select", "");
  made.setAttribute("aria-label", title);
  for (const [value, text] of options) {
    const option = element("option", "", text);
    Object.assign(option, { value, selected: value === chosen });
    made.append(option);
  }
  made.addEventListener("change", () => onChoose(made.value));
  return made;
}

/**
 * Replace the content of an element, without moving what is being read or done.
 *
 * The focus stays at the control of the same name, with what was typed there; rows with a `data-key` stay in place.
 */
export function redraw(container, ...children) {
  const reading = firstRow(container);
  const before = reading?.getBoundingClientRect().top;
  keepFocus(container, () => container.replaceChildren(...children));
  const row = reading && container.querySelector(`[data-key="${CSS.escape(reading.dataset.key)}"]`);
  if (row) scrollBy({ top: row.getBoundingClientRect().top - before, behavior: "instant" });
}

/** Return the first row on the screen, once the page is scrolled. */
function firstRow(container) {
  if (scrollY === 0) return null;
  return [...container.querySelectorAll("[data-key]")].find((each) => each.getBoundingClientRect().top >= 0) ?? null;
}

function keepFocus(container, replace) {
  const focused = container.contains(document.activeElement) ? document.activeElement : null;
  if (!focused) return replace();
  const named = nameOf(focused);
  const alike = () => [...container.querySelectorAll(FOCUSABLE)].filter((each) => nameOf(each) === named);
  const place = alike().indexOf(focused);
  replace();
  const same = alike()[place];
  if (!same) return;
  same.focus({ preventScroll: true });
  if (same.type !== "search" || same.value === focused.value) return;
  same.value = focused.value; // typed while the new content was loaded
  same.dispatchEvent(new Event("input"));
}

const FOCUSABLE = "a, button, input, select, summary, [tabindex]";

function nameOf(control) {
  const value = ["radio", "checkbox"].includes(control.type) ? control.value : "";
  const text = control.localName === "select" ? "" : control.textContent;
  return [control.localName, control.getAttribute("href"), control.name, value, control.ariaLabel, text].join(" ");
}
