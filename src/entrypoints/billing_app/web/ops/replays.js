// Replays that were run, and the progress of one that is running.

import { element, foreign, meter } from "../dom.js";
import { count } from "../format.js";
import { offerToCancel } from "./actions.js";
import { button, code, quiet, redraw, row, section, state, table, when } from "./parts.js";
import { get } from "./session.js";

const SHOWN = 20;
const BETWEEN = 1000; // milliseconds between two looks at a running replay
const COLUMNS = [
  ["When", "top-right quiet"],
  ["Events"],
  ["Why", "whole quiet"],
  ["Who", "quiet"],
  ["State", "whole"],
  ["Changed", "number skip-small"],
  ["Unchanged", "number skip-small"],
  ["Dead", "number skip-small"],
];
const STATES = {
  running: ["accent", "Running"],
  canceling: ["wait", "Stopping"],
  done: ["good", "Done"],
  interrupted: ["wait", "Interrupted"],
  canceled: ["wait", "Canceled"],
  lost: ["bad", "Lost"],
};

/** Return the section of replays. While one runs, it follows the progress until the view is left. */
export async function earlierReplays(page) {
  const list = element("div", "");
  const load = async () => {
    const { replays } = await get("/replays", { limit: SHOWN }, page.signal);
    redraw(list, replays.length === 0 ? element("p", "empty", "No replay was run yet.") : replayTable(page, replays));
    if (replays.some(({ state: name }) => ["running", "canceling"].includes(name))) follow();
  };
  const follow = () =>
    setTimeout(() => page.signal.aborted || load().catch(() => page.signal.aborted || follow()), BETWEEN);
  await load();
  return section("replays", "Replays", [], list);
}

const replayTable = (page, replays) =>
  table(
    COLUMNS,
    replays.map((each) => replayRow(page, each)),
  );

function replayRow(page, replay) {
  const { audit_id, started_at, filter, why, actor, counts, matched } = replay;
  const unchanged = counts.confirmed + counts.stale + counts.ignored;
  const made = row(
    COLUMNS,
    [
      when(started_at),
      [`${count(matched)}`, ...described(filter)],
      foreign(why ?? ""),
      foreign(actor),
      progress(page, replay),
      count(counts.changed),
      count(unchanged),
      count(counts.dead),
    ],
    1,
  );
  made.dataset.key = `replay-${audit_id}`;
  return made;
}

function progress(page, replay) {
  const name = replay.state === "interrupted" && replay.cancel_requested_by !== null ? "canceled" : replay.state;
  const shown = state(...(STATES[name] ?? ["none", name]));
  if (replay.state !== "running" && replay.state !== "canceling") return shown;
  const share = replay.matched === 0 ? 1 : replay.seen / replay.matched;
  const cancel = button("Cancel…", () => offerToCancel(replay, page.again), "link danger");
  const text = quiet(`${count(replay.seen)} of ${count(replay.matched)} `);
  return element(
    "div",
    "progress",
    shown,
    meter(share),
    element("span", "", text, ...(replay.state === "running" ? [cancel] : [])),
  );
}

/** Describe a filter in short: its values, the names left out where values say it. */
export function described(filter) {
  const { status = [], reason = [], tenant = null, customer = null, type = [], id = [] } = filter;
  const words = [
    ...[status].flat(),
    ...[reason].flat(),
    ...[type].flat(),
    ...[id].flat().slice(0, 3),
    tenant,
    customer,
  ];
  return words.filter(Boolean).flatMap((word) => [", ", code(word)]);
}
