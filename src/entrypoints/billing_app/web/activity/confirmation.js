// The dialog in which a change is previewed, confirmed and followed until its message arrives.

import { element, setText, toStripe } from "../dom.js";

const HEARD_WITHIN = 10_000; // milliseconds until the reader learns that the message takes longer
const SETTLE = 300; // milliseconds after the last input until a preview is asked for

export class Confirmation {
  element = element("dialog", "");
  #view;
  #parts;
  #wanted = null; // what the open dialog is about
  #quote = 0; // counts previews, so that a late answer to an earlier one is not shown
  #key;
  #timer;

  constructor(view) {
    this.#view = view;
    this.element.addEventListener("close", () => this.#closed());
  }

  /**
   * Open a dialog: `title`, the `body`, the text of the button that confirms, and `send(key)`, which carries it out.
   *
   * With `preview()`, its result is shown by `show(result)`, which returns nodes, and confirmed by `send(key, result)`;
   * `confirmOf(result)` is the text of the button then; with `previewLater` it waits for the first input. `about` is the
   * id of the object whose message ends it. Where the bank wants more, `link` leads to the invoice, or `portal()` returns
   * the button to Stripe's pages.
   */
  ask(wanted) {
    this.#wanted = wanted;
    this.#key = crypto.randomUUID();
    this.#build(wanted);
    this.element.showModal();
    wanted.inputs?.forEach((input) => input.addEventListener("input", () => this.#previewSoon()));
    if (wanted.previewLater) this.#busy(true, "");
    else if (wanted.preview) this.#preview();
  }

  /** Carry something out without asking. The dialog shows that it is under way, and what went wrong. */
  carryOut(wanted) {
    this.ask({ ...wanted, body: [], confirm: null });
    this.#send();
  }

  /** Forget what is under way, because its reader has left: no answer that arrives later may do anything. */
  stop() {
    this.#closed();
    this.element.remove();
  }

  /** Close the dialog if a message is about what was answered; one that comes before the answer waits for it. */
  heard({ subscription, invoice }) {
    const about = this.#wanted?.about;
    if (about === undefined || ![subscription?.subscription_id, invoice?.invoice_id].includes(about)) return;
    this.#parts.heard = true;
    if (this.#parts.answered) this.element.close();
  }

  #build({ title, body, confirm }) {
    const { words } = this.#view;
    const form = element("form", "");
    const heading = element("h2", "", title);
    heading.id = "dialog-title";
    const close = this.#button("×", "close");
    close.setAttribute("aria-label", words.act.close);
    const quote = element("section", "quote-part");
    quote.setAttribute("aria-live", "polite");
    const note = element("p", "small quiet");
    note.setAttribute("role", "status");
    const keep = this.#button(words.act.keep, "");
    const go = element("button", "primary", confirm ?? "");
    go.type = "submit";
    go.hidden = confirm === null;
    form.append(element("header", "", heading, close), element("div", "body", ...body, quote), element("footer", "", note, keep, go));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (go.getAttribute("aria-disabled") !== "true") this.#send();
    });
    this.#parts = { quote, note, go, keep, heard: false, answered: false, result: null };
    this.element.setAttribute("aria-labelledby", heading.id);
    this.element.replaceChildren(form);
  }

  #button(text, kind) {
    const made = element("button", kind, text);
    made.type = "button";
    made.addEventListener("click", () => this.element.close());
    return made;
  }

  #previewSoon() {
    clearTimeout(this.#timer);
    this.#busy(true, this.#view.words.act.previewing);
    this.#timer = setTimeout(() => this.#preview(), SETTLE);
  }

  async #preview() {
    const [wanted, number] = [this.#wanted, (this.#quote += 1)];
    this.#key = crypto.randomUUID(); // another choice is another decision
    this.#busy(true, this.#view.words.act.previewing);
    let result;
    try {
      result = await wanted.preview();
    } catch (error) {
      if (number !== this.#quote) return;
      this.#parts.quote.replaceChildren();
      return this.#fail(error, false);
    }
    if (number !== this.#quote || wanted !== this.#wanted) return;
    this.#parts.result = result;
    this.#parts.quote.replaceChildren(...wanted.show(result));
    setText(this.#parts.go, wanted.confirmOf(result));
    this.#busy(false, "");
  }

  async #send() {
    const [wanted, parts, { words }] = [this.#wanted, this.#parts, this.#view];
    this.#busy(true, words.act.working);
    parts.heard = false;
    try {
      const answer = await wanted.send(this.#key, parts.result);
      if (wanted !== this.#wanted) return;
      if (answer.url) return location.assign(answer.url);
      if (answer.confirms || answer.status === "requires_action") return this.#confirmAtStripe(wanted);
    } catch (error) {
      if (wanted !== this.#wanted) return;
      return this.#fail(error, true);
    }
    parts.answered = true;
    if (wanted.about === undefined || parts.heard) return this.element.close();
    this.#timer = setTimeout(() => this.#acceptedOnly(), HEARD_WITHIN);
  }

  /** Say what went wrong. The same key asks for the same again; after a final refusal another try is a new decision. */
  #fail(error, again) {
    const { words } = this.#view;
    if (error.problem?.new_key_needed) this.#key = crypto.randomUUID();
    this.#busy(!again, `${words.act.failed} ${error.problem?.detail ?? words.act.unreachable}`);
    this.#parts.note.classList.add("failed");
    const outdated = error.problem?.code === "preview_outdated" && this.#wanted.preview;
    if (outdated) this.#preview();
  }

  /** Say that the bank asks for more, and where it can be given. The dialog stays, whatever message arrives. */
  #confirmAtStripe({ link, portal }) {
    const { words } = this.#view;
    this.#busy(true, words.act.confirmAtStripe);
    setText(this.#parts.keep, words.act.close);
    const place = link ? toStripe(words.act.openInvoice, link, "button") : portal?.();
    this.#parts.quote.replaceChildren(...(place ? [place] : []));
  }

  #acceptedOnly() {
    this.#busy(true, this.#view.words.act.accepted);
    setText(this.#parts.keep, this.#view.words.act.close);
  }

  #busy(busy, text) {
    const { go, note } = this.#parts;
    note.classList.remove("failed");
    setText(note, text);
    go.toggleAttribute("data-busy", busy);
    if (busy) go.setAttribute("aria-disabled", "true");
    else go.removeAttribute("aria-disabled");
  }

  #closed() {
    clearTimeout(this.#timer);
    this.#quote += 1;
    this.#wanted = null;
  }
}
