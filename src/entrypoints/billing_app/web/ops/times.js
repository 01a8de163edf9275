// Instants and lengths of time as an operator reads them, in the reader's locale and zone.

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTE = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL_DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const RELATIVE_DAY = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const NUMBER = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const DAY_LENGTH = 86_400_000;

export const moment = (instant) => MOMENT.format(new Date(instant));
export const day = (instant) => FULL_DAY.format(new Date(instant));

/** Format a time of today as 22:20:03, an earlier one as 27 Nov, 16:22. */
export function clock(instant) {
  const given = new Date(instant);
  return daysAgo(given) === 0 ? CLOCK.format(given) : dated(given);
}

/** Format as Today, 19:40; Yesterday, 16:22; 27 Nov, 16:22. */
export function stamp(instant) {
  const given = new Date(instant);
  const ago = daysAgo(given);
  if (ago !== 0 && ago !== 1) return dated(given);
  const name = RELATIVE_DAY.format(-ago, "day");
  return `${name.charAt(0).toLocaleUpperCase()}${name.slice(1)}, ${MINUTE.format(given)}`;
}

function dated(given) {
  const thisYear = given.getFullYear() === new Date().getFullYear();
  return `${(thisYear ? DAY : FULL_DAY).format(given)}, ${MINUTE.format(given)}`;
}

/** Count the midnights between an instant and now; negative for a day to come. */
function daysAgo(given) {
  const midnight = (of) => new Date(of.getFullYear(), of.getMonth(), of.getDate());
  return Math.round((midnight(new Date()) - midnight(given)) / DAY_LENGTH);
}

/** Format a length of time in seconds by its largest unit: 7 ms, 1.2 s, 41 min, 3 h, 2 days. */
export function lengthOf(seconds) {
  if (seconds <= 0) return "0 ms"; // two clocks that differ may measure less than nothing
  if (seconds < 1) return `${NUMBER.format(Math.round(seconds * 1000))} ms`;
  if (seconds < 60) return `${NUMBER.format(seconds)} s`;
  if (seconds < 3600) return `${NUMBER.format(Math.floor(seconds / 60))} min`;
  if (seconds < 48 * 3600) return `${NUMBER.format(Math.floor(seconds / 3600))} h`;
  return `${NUMBER.format(Math.floor(seconds / 86_400))} days`;
}

/** Return the seconds from one instant to another. */
export const secondsBetween = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

/** Format a rate or another small number with at most one decimal. */
export const decimal = (number) => NUMBER.format(number < 100 ? number : Math.round(number));
