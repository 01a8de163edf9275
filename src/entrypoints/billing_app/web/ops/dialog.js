// Dialogs for actions: fields, a preview where there is one, why, and a number to type before many things change.

import { element } from "../dom.js";
import { count } from "../format.js";
import { below, button } from "./parts.js";

const MOST_LETTERS = 500;

/**
 * Ask for what an action needs, and carry it out.
 *
 * `fields` are made by `field` or `check`. `preview`, if there is one, gets the values and returns
 * {content, seen, action}; without fields it is shown at once. Only then can the action be confirmed, by typing the number `seen.confirm` unless it is 0.
 * `submit` gets the values with `why`, and `seen`, which names what is confirmed to the server. It returns the sentence
 * that ends the dialog.
 * Both show the error that they raise. `onDone` is called when the dialog closes after success.
 */
export function openDialog({ title, intro = "", fields = [], preview = null, action, submit, onDone }) {
  const dialog = new ActionDialog({ title, intro, fields, preview, action, submit, onDone });
  dialog.open();
}

/** Create a labeled text field. */
export function field(name, title, { value = "", hint = "", required = true, type = "text" } = {}) {
  const input = element("input", "");
  Object.assign(input, {
    type,
    name,
    value,
    required,
    id: `field-${name}`,
    autocomplete: "off",
    maxLength: MOST_LETTERS,
  });
  return labeled(input, title, hint);
}

/** Put a label above a control, and a hint below it. */
export function labeled(input, title, hint = "") {
  input.id ||= `field-${input.name}`;
  const label = element("label", "", title);
  label.htmlFor = input.id;
  const made = element("div", "field", label, input);
  if (hint === "") return made;
  const text = below(hint);
  text.id = `${input.id}-hint`;
  input.setAttribute("aria-describedby", text.id);
  made.append(text);
  return made;
}

/** Create a checkbox with a label and a hint. */
export function check(name, title, { checked = false, hint = "" } = {}) {
  const input = element("input", "");
  Object.assign(input, { type: "checkbox", name, checked });
  return element("label", "check", input, element("span", "", title), ...(hint === "" ? [] : [below(hint)]));
}

/** Return the values of named controls: text, or true or false of a checkbox. */
export function valuesOf(form) {
  const named = [...form.querySelectorAll("[name]")];
  return Object.fromEntries(
    named.map((each) => [each.name, each.type === "checkbox" ? each.checked : each.value.trim()]),
  );
}

/** Create the field for the reason of an action. */
export const whyField = () => field("why", "Why", { hint: "Kept in the audit log beside your name." });

/** Create the field for the number that confirms an action. */
export function numberField(number) {
  const label = element("span", "", "Type ", element("b", "", count(number)), " to confirm");
  const made = field("confirm", label);
  made.querySelector("input").inputMode = "numeric";
  return made;
}

/** Tell whether `why` is given and the number typed, with or without the separators of the reader's locale. */
export function confirmed({ why, confirm = "" }, number) {
  const digits = confirm.replace(/[^0-9]/g, "");
  return why !== "" && (!number || digits === String(number));
}

class ActionDialog {
  #options;
  #seen = null;
  #dialog = element("dialog", "");
  #form = element("form", "");
  #asked = element("div", "body");
  #previewed = element("div", "previewed");
  #problem = element("p", "bad");
  #submit = element("button", "primary");
  #done = false;

  constructor(options) {
    this.#options = options;
    const heading = element("h2", "", options.title);
    heading.id = "dialog-title";
    this.#dialog.setAttribute("aria-labelledby", heading.id);
    const close = button("×", () => this.#dialog.close(), "close");
    close.ariaLabel = "Close";
    this.#problem.setAttribute("role", "alert");
    this.#previewed.setAttribute("aria-live", "polite");
    const intro = options.intro === "" ? [] : [element("p", "", options.intro)];
    this.#asked.append(...intro, ...options.fields, this.#previewed, this.#problem);
    this.#submit.type = "submit";
    const cancel = button("Cancel", () => this.#dialog.close());
    this.#form.append(element("header", "", heading, close), this.#asked, element("footer", "", cancel, this.#submit));
    this.#dialog.append(this.#form);
    this.#form.addEventListener("submit", (event) => this.#proceed(event));
    this.#form.addEventListener("input", (event) => this.#changed(event));
    this.#dialog.addEventListener("close", () => this.#closed());
  }

  open() {
    if (this.#options.preview === null) this.#askToConfirm(this.#options.action);
    else this.#submit.textContent = "Show what would change";
    document.body.append(this.#dialog);
    this.#dialog.showModal();
    this.#form.querySelector("input, select")?.focus();
    this.#offer();
    if (this.#options.preview !== null && this.#options.fields.length === 0) this.#form.requestSubmit();
  }

  get #isPreviewed() {
    return this.#form.querySelector("[name=why]") !== null;
  }

  get #number() {
    return this.#seen?.confirm ?? 0;
  }

  #askToConfirm(action) {
    this.#previewed.append(whyField(), ...(this.#number ? [numberField(this.#number)] : []));
    this.#submit.textContent = action;
  }

  /** What was previewed is void once a field changes. */
  #changed(event) {
    const own = ["why", "confirm"].includes(event.target.name);
    if (!own && this.#options.preview !== null && this.#isPreviewed) {
      this.#previewed.replaceChildren();
      this.#submit.textContent = "Show what would change";
    }
    this.#offer();
  }

  #offer() {
    const ready = !this.#isPreviewed || confirmed(valuesOf(this.#form), this.#number);
    this.#submit.setAttribute("aria-disabled", String(!ready));
  }

  async #proceed(event) {
    event.preventDefault();
    if (this.#done) return this.#dialog.close();
    if (this.#submit.getAttribute("aria-disabled") === "true") return;
    const text = this.#submit.textContent;
    this.#problem.textContent = "";
    this.#submit.setAttribute("aria-disabled", "true");
    this.#submit.setAttribute("aria-busy", "true");
    this.#submit.textContent = "Please wait…";
    try {
      if (this.#isPreviewed) this.#finish(await this.#options.submit(valuesOf(this.#form), this.#seen));
      else this.#show(await this.#options.preview(valuesOf(this.#form)));
    } catch (error) {
      if (error.name !== "ApiError") reportError(error);
      this.#problem.textContent = error.message;
      this.#submit.textContent = text;
    } finally {
      this.#submit.removeAttribute("aria-busy");
      this.#offer();
    }
  }

  #show({ content, seen, action }) {
    this.#seen = seen;
    this.#previewed.replaceChildren(...content);
    this.#askToConfirm(action);
    this.#form.querySelector("[name=why]").focus();
  }

  #finish(sentence) {
    this.#done = true;
    this.#asked.replaceChildren(element("p", "", sentence));
    this.#asked.setAttribute("role", "status");
    this.#submit.previousElementSibling.remove();
    this.#submit.textContent = "Close";
    this.#submit.focus();
  }

  #closed() {
    this.#dialog.remove();
    if (this.#done) this.#options.onDone?.();
  }
}
