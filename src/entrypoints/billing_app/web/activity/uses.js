// What a tenant may use and what is left of it; and the usage that invoices billed.

import { element, foreign, meter } from "../dom.js";

const MOST_PERIODS = 6;

/** Return the features of a tenant: those that are counted with bars, then the others in one line each. */
export function usesOf({ features }, view) {
  const { words } = view;
  const all = [...features].sort((a, b) => b.allowed - a.allowed || a.feature.localeCompare(b.feature));
  const counted = all.filter((each) => each.kind && each.kind !== "switch");
  const switches = all.filter((each) => !counted.includes(each));
  const made = [];
  if (counted.length > 0) made.push(element("ul", "uses", ...counted.map((each) => useOf(each, view))));
  made.push(...listed(words.alsoIncluded, "included", switches.filter((each) => each.allowed), words));
  made.push(...listed(words.notIncluded, "excluded", switches.filter((each) => !each.allowed), words));
  return made;
}

function listed(name, kind, features, words) {
  if (features.length === 0) return [];
  const item = (each) => {
    const why = each.reason.startsWith("access_") ? ` (${words.refused[each.reason] ?? each.reason})` : "";
    return element("li", "", foreign(label(each.feature), "long"), why);
  };
  const list = element("ul", kind, ...features.map(item));
  list.setAttribute("aria-label", name);
  return [list];
}

/** Turn the code of a feature into a name: api_calls → Api calls */
const label = (code) => code.replaceAll("_", " ").replace(/^./u, (first) => first.toUpperCase());

function useOf(each, { words, formats }) {
  const { limit, used, remaining, allowed } = each;
  const row = element("li", "use", element("h3", "", foreign(label(each.feature), "long")));
  const left = element("p", "left");
  if (limit !== null && used !== null) {
    const share = limit === 0 ? 1 : used / limit;
    const text = element("span", "small", formats.count(used), element("span", "quiet", words.of(formats.count(limit))));
    row.append(element("div", "used", text, meter(share, used > limit ? "wait" : undefined)));
    left.append(used > limit ? element("span", "over", words.over(formats.count(used - limit))) : words.left(formats.count(remaining)));
    if (each.resets_at) left.append(element("span", "below", words.resets(formats.day(each.resets_at))));
  } else {
    row.append(element("div", "used", used === null ? "" : formats.count(used)));
    left.append(limit === null ? words.noLimit : words.upTo(formats.count(limit)));
  }
  if (!allowed) left.append(element("span", "below", words.refused[each.reason] ?? each.reason));
  row.append(left);
  return row;
}

/** Return a group per feature with a bar per period; the largest period of a feature fills the width. */
export function billedOf(records, view) {
  const features = new Map();
  for (const record of records) {
    const periods = features.get(record.feature_key) ?? new Map();
    const key = `${record.period_start} ${record.period_end} ${record.currency}`;
    const known = periods.get(key) ?? { ...record, quantity: 0, amount: 0 };
    known.quantity += Number(record.quantity_decimal ?? record.quantity);
    known.amount += record.amount;
    features.set(record.feature_key, periods.set(key, known));
  }
  return [...features]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([feature, periods]) => group(feature, [...periods.values()], view));
}

function group(feature, periods, { formats }) {
  const ended = (period) => period.period_end ?? "";
  const newest = periods.sort((a, b) => ended(b).localeCompare(ended(a))).slice(0, MOST_PERIODS);
  const most = Math.max(1, ...newest.map((period) => period.quantity));
  const rows = newest.map((period) =>
    element(
      "li",
      "",
      element("span", "period", formats.span(period.period_start, period.period_end)),
      element("span", "quantity", formats.count(period.quantity)),
      meter(period.quantity / most),
      element("span", "quiet amount", formats.money(period.amount, period.currency)),
    ),
  );
  return element("li", "", element("h3", "", foreign(label(feature), "long")), element("ul", "periods", ...rows));
}
