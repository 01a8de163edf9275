// Format amounts, dates and codes for display, as plain text in the reader's language and time zone.

// Stripe's minor units differ from Intl's for some currencies. Source: https://docs.stripe.com/currencies
const DIGITS = {
  bif: 0, clp: 0, djf: 0, gnf: 0, jpy: 0, kmf: 0, krw: 0, mga: 0, pyg: 0, rwf: 0, vnd: 0, vuv: 0, xaf: 0, xof: 0, xpf: 0,
  bhd: 3, jod: 3, kwd: 3, omr: 3, tnd: 3,
};
const STEPS = [["minute", 60_000], ["hour", 3_600_000]];
const DAY = 86_400_000;

/** Return the formats of a language, such as "de-AT"; without one, those of the reader's browser. */
export function formats(locale) {
  const dates = (options) => new Intl.DateTimeFormat(locale, options);
  const date = dates({ dateStyle: "medium" });
  const shortDate = dates({ day: "numeric", month: "short" });
  const weekday = dates({ weekday: "long", day: "numeric", month: "short" });
  const full = dates({ dateStyle: "medium", timeStyle: "medium" });
  const time = dates({ timeStyle: "short" });
  const number = new Intl.NumberFormat(locale);
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto", style: "short" });
  const named = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });

  /** Format minor units: 1999, "usd" → $19.99; 1999, "jpy" → ¥1,999. */
  function money(amount, currency) {
    const digits = DIGITS[currency] ?? 2;
    return price(amount / 10 ** digits, currency, digits, digits);
  }

  /** Format a decimal number of minor units with as many digits as it has: "0.8", "usd" → $0.008. */
  function unitPrice(decimal, currency) {
    const digits = DIGITS[currency] ?? 2;
    return price(Number(decimal) / 10 ** digits, currency, digits, 12);
  }

  function price(value, currency, fewest, most) {
    try {
      const options = { style: "currency", currency, minimumFractionDigits: fewest, maximumFractionDigits: most };
      return new Intl.NumberFormat(locale, options).format(value);
    } catch {
      return `${value.toFixed(fewest)} ${currency}`; // Intl does not know the code
    }
  }

  /** Format a period, with the year only if its days do not share the current one. */
  function span(start, end) {
    if (!start || !end) return day(start ?? end);
    const years = new Set([new Date(start), new Date(end), new Date()].map((each) => each.getFullYear()));
    const format = years.size === 1 ? shortDate : date;
    return `${format.format(new Date(start))} – ${format.format(new Date(end))}`;
  }

  /** Format an instant of the last 24 hours as the time since then, and others as the time of day. */
  function ago(instant, now = Date.now()) {
    const passed = now - Date.parse(instant);
    if (passed < 0 || passed >= DAY) return time.format(new Date(instant));
    const [unit, length] = passed < STEPS[1][1] ? STEPS[0] : STEPS[1];
    return relative.format(-Math.floor(passed / length), unit);
  }

  /** Name the day of an instant: Today, Yesterday, Thursday, 26 Nov; with the year if it is another one. */
  function dayName(instant, now = new Date()) {
    const given = new Date(instant);
    const midnight = (each) => new Date(each.getFullYear(), each.getMonth(), each.getDate(), 12);
    const days = Math.round((midnight(given) - midnight(now)) / DAY);
    if (days === 0 || days === -1) return capitalized(named.format(days, "day"));
    return given.getFullYear() === now.getFullYear() ? weekday.format(given) : date.format(given);
  }

  const day = (instant) => (instant ? date.format(new Date(instant)) : "–");
  return {
    money,
    unitPrice,
    span,
    ago,
    dayName,
    day,
    shortDay: (instant) => shortDate.format(new Date(instant)),
    time: (instant) => time.format(new Date(instant)),
    moment: (instant) => (instant ? full.format(new Date(instant)) : "–"),
    count: (given) => number.format(given),
  };
}

export const { money, day, moment, count, span } = formats();

const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Turn a code into a label: past_due → Past due */
export const label = (code) => capitalized(String(code ?? "").replaceAll("_", " ").replaceAll(".", ": "));
