// Counts of events by status and reason, kept for a while: counting reads every event that matches.

import { asQuery } from "./filters.js";
import { get } from "./session.js";

const KEPT = 10_000; // milliseconds
const STATUSES = ["due", "leased", "applied", "ignored", "parked", "dead"];

let kept = { key: "", at: 0, counts: null };

/** Count the events of a filter, without its status and reason; null if the server cannot count that many now. */
export async function countsOf(filter, signal) {
  const wanted = { ...asQuery(filter), status: [], reason: [] };
  const key = JSON.stringify(wanted);
  if (kept.key === key && Date.now() - kept.at < KEPT) return kept.counts;
  const since = wanted.since ?? new Date(0).toISOString();
  try {
    const { groups } = await get("/events/counts", { ...wanted, since, by: "reason" }, signal);
    kept = { key, at: Date.now(), counts: new Counts(groups) };
  } catch (error) {
    if (error.status !== 503) throw error;
    return null;
  }
  return kept.counts;
}

/** Count again at the next occasion, since events were changed. */
export function countAgain() {
  kept.key = "";
}

class Counts {
  #groups; // {name: "dead: permanent" or "applied", total, and a number by status}

  constructor(groups) {
    this.#groups = groups;
  }

  /** Return the number of events that have a status, or any of them with null; due ones include those in progress. */
  of(status, reason = null) {
    const counted = status === null ? STATUSES : status === "due" ? ["due", "leased"] : [status];
    const groups = this.#groups.filter(({ name }) => reason === null || name.endsWith(`: ${reason}`));
    return groups.reduce((sum, group) => sum + counted.reduce((part, each) => part + (group[each] ?? 0), 0), 0);
  }

  /** Return the reasons of events that have a status, or of all with null. */
  reasons(status) {
    const named = this.#groups.map(({ name }) => name.split(": "));
    return named.filter(([of, reason]) => reason && (status === null || of === status)).map(([, reason]) => reason);
  }
}
