// Format amounts, dates and codes for display, as plain text.

// Stripe's minor units differ from Intl's for some currencies. Source: https://docs.stripe.com/currencies
const DIGITS = {
  bif: 0, clp: 0, djf: 0, gnf: 0, jpy: 0, kmf: 0, krw: 0, mga: 0, pyg: 0, rwf: 0, vnd: 0, vuv: 0, xaf: 0, xof: 0, xpf: 0,
  bhd: 3, jod: 3, kwd: 3, omr: 3, tnd: 3,
};

/** Format minor units in the reader's language: 1999, "usd" → $19.99; 1999, "jpy" → ¥1,999. */
export function money(amount, currency) {
  const digits = DIGITS[currency] ?? 2;
  const value = amount / 10 ** digits;
  try {
    return new Intl.NumberFormat(undefined, {
      style: "currency",
      currency,
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    }).format(value);
  } catch {
    return `${value.toFixed(digits)} ${currency}`; // Intl does not know the code
  }
}

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const SHORT_DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const COUNT = new Intl.NumberFormat();

export const day = (instant) => (instant ? DAY.format(new Date(instant)) : "–");
export const moment = (instant) => (instant ? MOMENT.format(new Date(instant)) : "–");
export const count = (number) => COUNT.format(number);

/** Format the time if it is today, else date and time. */
export function shortMoment(instant) {
  const given = new Date(instant);
  const today = given.toDateString() === new Date().toDateString();
  return today ? CLOCK.format(given) : MOMENT.format(given);
}

/** Format a period, with the year once if both days share it. */
export function span(start, end) {
  if (!start || !end) return day(start ?? end);
  const sameYear = new Date(start).getFullYear() === new Date(end).getFullYear();
  return `${(sameYear ? SHORT_DAY : DAY).format(new Date(start))} – ${day(end)}`;
}

/** Turn a code into a label: past_due → Past due */
export function label(code) {
  const text = String(code ?? "").replaceAll("_", " ").replaceAll(".", ": ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
