// Helpers that build the page. Strings become text, never markup: neither this module nor its users parse HTML.

export const $ = (id) => document.getElementById(id);

/** Create an element with children; those that are null are left out. */
export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Create an element for text from outside, isolated from the direction of the text around it. */
export function foreign(text, className = "") {
  return element("bdi", `foreign ${className}`.trim(), String(text));
}

/** Create the element of an instant that is shown as `text`. */
export function timeOf(instant, text, className = "") {
  const made = element("time", className, text);
  made.dateTime = instant;
  return made;
}

/** Create a state: a dot in the color of its tone (good, wait, bad, none) and a word. */
export function stateOf(word, tone) {
  const made = element("span", "state", word);
  if (tone) made.dataset.tone = tone;
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** Create an SVG element. Sizes are attributes: the page's policy allows no inline style. */
export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Create a bar that is filled to a share between 0 and 1. It is hidden from screen readers: a text says the same. */
export function meter(share, tone) {
  const width = `${Math.min(1, Math.max(0, share)) * 100}%`;
  const bar = (size) => svg("rect", { width: size, height: 6, rx: 3 });
  const made = svg("svg", { class: "meter", "aria-hidden": "true" }, bar("100%"), bar(width));
  if (tone) made.dataset.tone = tone;
  return made;
}

/** Create a link to a page of Stripe's over https, or return the content alone: other addresses are not linked. */
export function toStripe(content, address, className = "") {
  const url = URL.canParse?.(address) ? new URL(address) : null;
  const stripe = url !== null && (url.hostname === "stripe.com" || url.hostname.endsWith(".stripe.com"));
  if (!stripe || url.protocol !== "https:" || url.username !== "" || url.port !== "") return content;
  const link = element("a", className, content);
  link.href = url.href;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  return link;
}

/** Set a text only if it differs: a screen reader would announce it again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
