// Helpers that build the page. Strings become text, never markup: neither this module nor its users parse HTML.

export const $ = (id) => document.getElementById(id);

/** Create an element with children. */
export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Create an element for text from outside, isolated from the direction of the text around it. */
export function foreign(text, className = "") {
  return element("bdi", `foreign ${className}`.trim(), String(text));
}

/** Set a text only if it differs: a screen reader would announce it again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
