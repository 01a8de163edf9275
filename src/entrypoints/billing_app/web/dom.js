// Building the page. Strings become text, never markup: nothing here, and nothing that uses it, parses HTML.

export const $ = (id) => document.getElementById(id);

/** An element with children. */
export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** What somebody else wrote, kept apart from the direction of the text around it. */
export function theirs(text, className = "") {
  return element("bdi", `theirs ${className}`.trim(), String(text));
}

/** Change a text only when it is another one: what is announced would be announced again. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
