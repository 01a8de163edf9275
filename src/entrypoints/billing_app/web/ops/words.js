// The words for access, as operators read them.

import { element } from "../dom.js";
import { state } from "./parts.js";
import { day } from "./times.js";

const NAMES = { full: "Full", grace: "Grace", read_only: "Read-only", blocked: "Blocked" };
const TONES = { full: "good", grace: "wait", read_only: "wait", blocked: "bad" };

export const accessName = ({ state: name }) => NAMES[name] ?? name;
export const accessTone = ({ state: name }) => TONES[name] ?? "none";

/** Show an access verdict with its end, if it has one. */
export function accessState(access) {
  const until = access.until ? ` until ${day(access.until)}` : "";
  return state(accessTone(access), `${accessName(access)}${until}`);
}

/** Return why access is as it is, as words with the reason's code. */
export const becauseOf = ({ reason }) => element("bdi", "", String(reason ?? "").replaceAll("_", " "));
