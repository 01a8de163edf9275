// The API documentation: the OpenAPI document of this server, shown. Strings of the document become text, never markup.

import { $, element, setText } from "./dom.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

const TENANT = "/api/v1/billing/tenants/{tenant_id}";

/** Return what a reference points to, or the thing itself. */
function resolved(document_, thing) {
  if (!thing?.$ref) return thing;
  return thing.$ref.slice(2).split("/").reduce((at, part) => at[part], document_);
}

const nameOf = (reference) => reference.slice(reference.lastIndexOf("/") + 1);
const code = (text) => element("code", "", text);

/** Return the nodes of a text in which backticks mark code. */
function prose(text = "") {
  return text.split("`").map((each, place) => (place % 2 ? code(each) : each));
}

function link(text, target) {
  const made = element("a", "", text);
  made.href = target;
  return made;
}

/** Return the nodes that say what a schema admits: words, names of types, and links to schemas. */
function typeOf(schema) {
  if (schema === undefined || schema === true) return ["anything"];
  if (schema.$ref) return [link(nameOf(schema.$ref), `#schema-${nameOf(schema.$ref)}`)];
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return several.flatMap((each, place) => (place ? [" or ", ...typeOf(each)] : typeOf(each)));
  if (schema.enum) return schema.enum.flatMap((each, place) => (place ? [" ", code(String(each))] : [code(String(each))]));
  if (schema.const !== undefined) return [code(String(schema.const))];
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items)];
  if (schema.additionalProperties?.type || schema.additionalProperties?.$ref) {
    return ["object of ", ...typeOf(schema.additionalProperties)];
  }
  return [[schema.type, schema.format, limits(schema)].filter(Boolean).join(", ") || "anything"];
}

/** Return the limits of a number or a text in words; those of 64 bits go without saying. */
function limits({ minimum, maximum, minLength, maxLength, default: preset }) {
  const parts = [];
  if (Number.isSafeInteger(minimum)) parts.push(`from ${minimum}`);
  if (Number.isSafeInteger(maximum)) parts.push(`to ${maximum}`);
  if (minLength > 1) parts.push(`at least ${minLength} characters`);
  if (maxLength !== undefined) parts.push(`at most ${maxLength} characters`);
  if (preset !== undefined) parts.push(`default ${preset}`);
  return parts.join(" ");
}

function table(heads, rows) {
  const head = element("tr", "", ...heads.map((each) => element("th", "", each)));
  const body = rows.map((cells) => element("tr", "", ...cells.map((cell) => element("td", "", ...[cell].flat()))));
  const scrolled = element("div", "scroll", element("table", "", element("thead", "", head), element("tbody", "", ...body)));
  scrolled.tabIndex = 0; // so that the keyboard can scroll it
  scrolled.setAttribute("role", "group");
  scrolled.setAttribute("aria-label", heads.join(", "));
  return scrolled;
}

function named(name, required) {
  return [code(name), required ? element("span", "required", " required") : ""];
}

/** Return the fields of an object as a table, or its type in a line. */
function fields(schema) {
  if (!schema?.properties) return element("p", "type", ...typeOf(schema));
  const rows = Object.entries(schema.properties).map(([name, each]) => [
    named(name, schema.required?.includes(name)),
    element("span", "type", ...typeOf(each)),
    prose(each.description),
  ]);
  return table(["Field", "Type", "Meaning"], rows);
}

/** Return a heading and its contents; nothing if there are no contents. */
function part(title, ...contents) {
  return contents.length ? [element("div", "", element("h4", "", title), ...contents)] : [];
}

function contents(content = {}) {
  return Object.entries(content).map(([type, { schema }]) => element("div", "", element("p", "quiet small", type), fields(schema)));
}

/** Return a command line that calls an operation. */
function example(path, method, operation, parameters) {
  const words = ["curl"];
  if (method !== "get") words.push("-X", method.toUpperCase());
  if (operation.security?.length) words.push("-H", '"Authorization: Bearer $TOKEN"');
  for (const each of parameters.filter((one) => one.in === "header" && one.required)) words.push("-H", `"${each.name}: …"`);
  if (operation.requestBody) words.push("-H", '"Content-Type: application/json"', "-d", "'{…}'");
  return element("pre", "", code([...words, `'${location.origin}${path}'`].join(" ")));
}

function shown(document_, path, method, operation) {
  const parameters = (operation.parameters ?? []).map((each) => resolved(document_, each));
  const schemes = (operation.security ?? []).flatMap((each) => Object.keys(each));
  const body = resolved(document_, operation.requestBody);
  const answers = Object.entries(operation.responses).map(([status, each]) => [status, resolved(document_, each)]);
  const title = element("h3", "", badge(method), code(path));
  const made = element(
    "article",
    "",
    title,
    element("p", "", ...prose(operation.description ?? operation.summary)),
    ...part("Who may call it", ...schemes.map((name) => element("p", "small", code(name), " ", ...prose(document_.components.securitySchemes[name].description)))),
    ...part(
      "Parameters",
      ...(parameters.length
        ? [table(["Name", "In", "Type", "Meaning"], parameters.map((each) => [named(each.name, each.required), each.in, element("span", "type", ...typeOf(each.schema)), prose(each.description)]))]
        : []),
    ),
    ...part("Body", ...contents(body?.content)),
    ...part("Answers", table(["Status", "Meaning", "Type"], answers.map(([status, each]) => [code(status), prose(each.description), typesOf(each.content)]))),
    ...part("From a terminal", example(path, method, operation, parameters)),
  );
  made.id = operation.operationId;
  title.id = `${operation.operationId}-title`;
  made.setAttribute("aria-labelledby", title.id);
  return made;
}

function typesOf(content = {}) {
  return Object.entries(content).flatMap(([type, { schema }], place) => [place ? " · " : "", schema?.$ref ? typeOf(schema)[0] : type]);
}

function badge(method) {
  const made = element("span", "method", method);
  made.dataset.method = method;
  return made;
}

/** Return the operations of a document in its order, with their tag. */
function operationsOf(document_) {
  return Object.entries(document_.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) => ({ path, method, operation: methods[method], tag: methods[method].tags?.[0] ?? "other" })),
  );
}

function show(document_) {
  setText($("title"), `${document_.info.title} API`);
  setText($("about"), document_.info.description ?? "");
  const all = operationsOf(document_);
  for (const { name, description } of document_.tags) {
    const entries = element("ul");
    const section = element("section", "", element("h2", "", name), element("p", "quiet", description ?? ""));
    for (const { path, method, operation } of all.filter((each) => each.tag === name)) {
      const entry = element("li", "", link("", `#${operation.operationId}`));
      entry.firstChild.append(badge(method), path.startsWith(TENANT) ? `…${path.slice(TENANT.length)}` : path);
      entry.dataset.words = [path, method, operation.operationId, operation.summary].join(" ").toLowerCase();
      entries.append(entry);
      section.append(shown(document_, path, method, operation));
    }
    $("index").append(element("section", "", element("h2", "", name), entries));
    $("operations").append(section);
  }
  for (const [name, schema] of Object.entries(document_.components.schemas).sort(([one], [other]) => one.localeCompare(other))) {
    const made = element("article", "", element("h3", "", code(name)), element("p", "", ...prose(schema.description)), fields(schema));
    made.id = `schema-${name}`;
    $("schemas").append(made);
  }
  $("schemas").hidden = false;
}

/** Show the operations that contain every word, in the index and in the page. */
function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const entries = [...document.querySelectorAll("#index li")];
  for (const entry of entries) {
    entry.hidden = !words.every((word) => entry.dataset.words.includes(word));
    $(entry.firstChild.hash.slice(1)).hidden = entry.hidden;
  }
  for (const section of document.querySelectorAll("#index > section, #operations > section")) {
    section.hidden = ![...section.querySelectorAll("li, article")].some((each) => !each.hidden);
  }
  const left = entries.filter((entry) => !entry.hidden).length;
  setText($("found"), words.length ? `${left} of ${entries.length} operations` : "");
}

try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  show(await answer.json());
  $("filter").addEventListener("input", (event) => filter(event.target.value));
  if (location.hash) $(location.hash.slice(1))?.scrollIntoView(); // it did not exist when the browser looked for it
} catch (error) {
  setText($("about"), `The description of this API could not be loaded: ${error.message}. Reload the page to try again.`);
}
