"""billing-stream.js in a real browser, against answers that a test writes down: every turn a connection can take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Site, Visiting

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

PLAY = """
async ({ answers, states, options, until }) => {
  const { BillingStream } = await import("/assets/billing-stream.js");
  const log = { requests: [], tokens: [], events: [], states: [], statuses: [], refused: null, reported: 0 };
  addEventListener("error", (event) => { log.reported += 1; event.preventDefault(); });
  const encoder = new TextEncoder();
  const body = ({ chunks = [], hold = false }, signal) => new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(encoder.encode(chunk));
      if (!hold) controller.close();
      else signal.addEventListener("abort", () => controller.error(signal.reason));
    },
  });
  const fetch = async (url, { headers, signal }) => {
    log.requests.push({ url, at: performance.now(), token: headers.Authorization, last: headers["Last-Event-ID"] });
    const answer = answers.shift() ?? { hold: true };
    if (answer.fail) throw new TypeError("network");
    return new Response(body(answer, signal), { status: answer.status ?? 200, headers: answer.headers ?? {} });
  };
  let asked = 0;
  const token = options.token ?? (({ refresh }) => { log.tokens.push(refresh); asked += 1; return `token-${asked}`; });
  await new Promise((resolve) => {
    const look = () => {
      if (log.events.length >= (until.events ?? Infinity)) setTimeout(resolve, 20);
      if (log.statuses.includes(until.status)) resolve();
    };
    const stream = new BillingStream({
      url: "/stream", fetch, ...options, token,
      load: () => {
        const state = states.shift();
        if (state === "hang") return new Promise(() => {});
        return { sequence: state };
      },
      onState: (state) => log.states.push(state.sequence),
      onEvent: (message) => {
        log.events.push(message.sequence);
        look();
        if (options.stopAt === message.sequence) stream.stop();
        if (options.throwAt === message.sequence) throw new Error("a fault of the frontend's own");
      },
      onStatus: (status, error) => {
        log.statuses.push(status);
        if (status === "refused") log.refused = [error.name, error.status, error.code, error.message];
        look();
      },
    });
    window.playing = stream;
    const watching = setInterval(look, 10);
    stream.start();
    setTimeout(() => { clearInterval(watching); resolve(); }, 15000);
  });
  log.status = window.playing.status;
  window.playing.stop();
  return log;
}
"""

OPEN = "retry: 10\nid: {}\n\n"


def message(number: int) -> str:
    data = json.dumps({"sequence": number})
    return f"id: {number}\nevent: invoice.paid\ndata: {data}\n\n"


def messages(*numbers: int, opening: int | None = None) -> list[str]:
    first = [] if opening is None else [OPEN.format(opening)]
    return [*first, *map(message, numbers)]


async def play(visit: Visiting, *answers: Any, states: list[Any], until: Any, **options: Any) -> Any:
    """What a client did and said when it was answered like this."""
    script = {"answers": answers, "states": states, "until": until, "options": options}
    return await (await visit()).page.evaluate(PLAY, script)


async def test_it_begins_behind_the_state_and_resumes_behind_the_last_message(visit: Visiting) -> None:
    """`after` is the state's number on the first connect; from then on Last-Event-ID says what there was last."""
    log = await play(
        visit,
        {"chunks": messages(8, 9, opening=7)},
        {"chunks": messages(8, 9, 10, opening=9)},
        {"chunks": messages(11, opening=10), "hold": True},
        states=[7],
        until={"events": 4},
    )
    assert log["events"] == [8, 9, 10, 11]
    assert [(each["url"], each.get("last")) for each in log["requests"]] == [
        ("/stream?after=7", None),
        ("/stream", "9"),
        ("/stream", "10"),
    ]
    assert log["states"] == [7]


async def test_a_connection_that_is_lost_before_its_first_message_resumes_from_the_opening(visit: Visiting) -> None:
    """The first frame has an id and no data: it is enough."""
    log = await play(
        visit, {"chunks": [OPEN.format(7)]}, {"chunks": messages(8), "hold": True}, states=[7], until={"events": 1}
    )
    assert [each.get("last") for each in log["requests"]] == [None, "7"]
    assert log["events"] == [8]


async def test_a_number_left_out_is_asked_for(visit: Visiting) -> None:
    """What comes after a gap is not handed over before the gap is filled."""
    log = await play(
        visit,
        {"chunks": messages(1, 3, opening=0)},
        {"chunks": messages(2, 3, opening=1), "hold": True},
        states=[0],
        until={"events": 3},
    )
    assert log["events"] == [1, 2, 3]
    assert [each.get("last") for each in log["requests"]] == [None, "1"]


async def test_with_a_filter_numbers_may_be_missing(visit: Visiting) -> None:
    """Ids without data move the place to resume from over what the filter keeps back."""
    log = await play(
        visit,
        {"chunks": [*messages(3, 9, opening=0), "id: 40\n\n"]},
        {"chunks": messages(41, opening=40), "hold": True},
        states=[0],
        until={"events": 3},
        types=["invoice.*", "usage.billed"],
    )
    assert log["events"] == [3, 9, 41]
    assert log["requests"][0]["url"] == "/stream?after=0&types=invoice.*%2Cusage.billed"
    assert [each.get("last") for each in log["requests"]] == [None, "40"]


async def test_reset_loads_the_state_again(visit: Visiting) -> None:
    """Numbers of another history are worth nothing: the state comes first, and the stream goes on from there."""
    log = await play(
        visit,
        {"chunks": [*messages(6, opening=5), 'id: 2\nevent: reset\ndata: {"sequence":2}\n\n', *messages(3)]},
        {"chunks": messages(3, opening=2), "hold": True},
        states=[5, 2],
        until={"events": 2},
    )
    assert (log["events"], log["states"]) == ([6, 3], [5, 2])
    assert [each["url"] for each in log["requests"]] == ["/stream?after=5", "/stream?after=2"]


async def test_an_id_that_the_server_does_not_take_loads_the_state_again(visit: Visiting) -> None:
    """400 about Last-Event-ID is no end: our place is none of this history."""
    refusal = json.dumps({"error": {"code": "bad_last_event_id", "message": "No."}})
    log = await play(
        visit,
        {"chunks": messages(6, opening=5)},
        {"status": 400, "chunks": [refusal]},
        {"chunks": messages(1, opening=0), "hold": True},
        states=[5, 0],
        until={"events": 2},
    )
    assert (log["events"], log["states"], log["refused"]) == ([6, 1], [5, 0], None)


async def test_reconnect_comes_back_with_its_place(visit: Visiting) -> None:
    """A server that says goodbye is not read any further."""
    goodbye = 'retry: 10\nevent: reconnect\ndata: {"reason":"max_life"}\n\n'
    log = await play(
        visit,
        {"chunks": [*messages(1, opening=0), goodbye, *messages(2)], "hold": True},
        {"chunks": messages(2, opening=1), "hold": True},
        states=[0],
        until={"events": 2},
    )
    assert log["events"] == [1, 2]
    assert [each.get("last") for each in log["requests"]] == [None, "1"]


async def test_a_refused_token_is_asked_for_once_more(visit: Visiting) -> None:
    """A token that has just run out costs one request, not the session."""
    log = await play(
        visit, {"status": 401}, {"chunks": messages(1, opening=0), "hold": True}, states=[0], until={"events": 1}
    )
    assert log["tokens"] == [False, True]
    assert [each["token"] for each in log["requests"]] == ["Bearer token-1", "Bearer token-2"]
    assert "refused" not in log["statuses"]


@pytest.mark.parametrize(
    ("status", "code", "requests"), [(401, "unauthorized", 2), (403, "wrong_role", 1), (404, "stream_disabled", 1)]
)
async def test_a_refusal_is_told_and_ends_it(visit: Visiting, status: int, code: str, requests: int) -> None:
    """Trying again would not help: the handler learns the status, the server's word and its sentence."""
    refusal = {"status": status, "chunks": [json.dumps({"error": {"code": code, "message": "Because."}})]}
    log = await play(visit, refusal, refusal, states=[0], until={"status": "refused"})
    assert log["refused"] == ["RefusedError", status, code, "Because."]
    assert (log["status"], len(log["requests"])) == ("refused", requests)


async def test_a_token_that_is_a_string_is_not_tried_twice(visit: Visiting) -> None:
    """Nothing could be different the second time."""
    log = await play(visit, {"status": 401}, states=[0], until={"status": "refused"}, token="abc")
    assert [each["token"] for each in log["requests"]] == ["Bearer abc"]
    assert log["refused"][:3] == ["RefusedError", 401, "http_401"]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_waited_for(visit: Visiting, status: int) -> None:
    """A server that says when to come back is not bothered before."""
    log = await play(
        visit,
        {"status": status, "headers": {"Retry-After": "2"}, "chunks": ["<html>busy</html>"]},
        {"chunks": messages(1, opening=0), "hold": True},
        states=[0],
        until={"events": 1},
    )
    assert log["requests"][1]["at"] - log["requests"][0]["at"] >= 1990
    assert log["events"] == [1]


async def test_a_silent_connection_is_given_up(visit: Visiting) -> None:
    """Without keep-alives a connection is dead, whatever the browser believes; comments count as life."""
    log = await play(
        visit,
        {"chunks": [*messages(1, opening=0), ":\n\n"], "hold": True},
        {"chunks": messages(2, opening=1), "hold": True},
        states=[0],
        until={"events": 2},
        silence=100,
    )
    assert log["events"] == [1, 2]
    assert log["requests"][1]["at"] - log["requests"][0]["at"] >= 99


async def test_a_state_that_never_comes_is_asked_for_again(visit: Visiting) -> None:
    """What hangs in the caller's own code is left behind like a silent connection."""
    log = await play(
        visit,
        {"chunks": messages(5, opening=4), "hold": True},
        states=["hang", 4],
        until={"events": 1},
        silence=100,
    )
    assert (log["states"], log["events"]) == ([4], [5])


async def test_a_fault_of_a_handler_costs_no_message(visit: Visiting) -> None:
    """It is reported as an uncaught error, and the next message comes on the same connection."""
    log = await play(
        visit, {"chunks": messages(1, 2, 3, opening=0), "hold": True}, states=[0], until={"events": 3}, throwAt=2
    )
    assert (log["events"], log["reported"], len(log["requests"])) == ([1, 2, 3], 1, 1)


async def test_nothing_is_handed_over_after_stop(visit: Visiting) -> None:
    """Not even what had already been read."""
    log = await play(
        visit, {"chunks": ["".join(messages(1, 2, 3, opening=0))]}, states=[0], until={"events": 2}, stopAt=2
    )
    assert (log["events"], log["status"], len(log["requests"])) == ([1, 2], "stopped", 1)


@pytest.mark.parametrize("data", ["{", "null", "7", '{"sequence":"8"}', '{"sequence":1e400}', "a\ndata: b"])
async def test_what_is_no_message_of_ours_is_not_handed_over(visit: Visiting, data: str) -> None:
    """The connection is given up, and the place is kept."""
    log = await play(
        visit,
        {"chunks": [*messages(1, opening=0), f"id: 2\ndata: {data}\n\n"]},
        {"chunks": messages(2, opening=1), "hold": True},
        states=[0],
        until={"events": 2},
    )
    assert log["events"] == [1, 2]
    assert [each.get("last") for each in log["requests"]] == [None, "1"]


async def test_it_says_how_it_stands(visit: Visiting) -> None:
    """Loading, connecting, catching up, live; and reconnecting in between, after a failure to connect too."""
    log = await play(
        visit,
        {"chunks": messages(1, opening=0)},
        {"fail": True},
        {"chunks": messages(2, opening=1), "hold": True},
        states=[0],
        until={"status": "live"},
    )
    assert log["statuses"] == [
        *("loading", "connecting", "catching-up", "reconnecting"),
        *("connecting", "reconnecting", "connecting", "catching-up", "live"),
    ]


FOLLOW = """
async ({ base, token }) => {
  const { BillingStream } = await import("/assets/billing-stream.js");
  const seen = window.seen = { states: [], events: [] };
  const unknown = [{ sequence: 10000 }];
  window.stream = new BillingStream({
    url: "/api/v1/billing/stream", token, types: ["invoice.*"],
    load: (get) => unknown.pop() ?? get(`${base}/state`),
    onState: ({ sequence }) => seen.states.push(sequence),
    onEvent: ({ event_type, sequence }) => seen.events.push([event_type, sequence]),
  });
  window.until = (done) => new Promise((resolve) => {
    const watching = setInterval(() => { if (done()) { clearInterval(watching); resolve(); } }, 20);
  });
  window.stream.start();
}
"""


async def test_a_real_server_resets_and_filters(site: Site, visit: Visiting) -> None:
    """A place that the history does not have leads to the state; what is filtered out moves the place too."""
    account = site.account("filtered")
    await account.subscribe(seats=1)
    await account.history(at_least=1)
    page = (await visit()).page
    base = f"/api/v1/billing/tenants/{account.tenant_id}"
    await page.evaluate(FOLLOW, {"base": base, "token": account.token})
    await page.evaluate("until(() => stream.status === 'live')")
    await account.bill("F-1", amounts=[(account.price("pro"), 1, 1900)])
    await account.history(at_least=2)
    await account.subscribe(seats=2)
    await account.history(at_least=3)
    await page.evaluate("until(() => stream.cursor === 3)")
    await page.evaluate("stream.stop()")
    assert await page.evaluate("seen.states") == [10000, 1]
    assert await page.evaluate("seen.events") == [["invoice.paid", 2]]


FRAMES = """
async (text) => {
  const { FrameParser } = await import("/assets/billing-stream.js");
  const read = (pieces) => {
    const parser = new FrameParser();
    return JSON.stringify(pieces.flatMap((piece) => parser.push(piece)));
  };
  const found = new Set();
  for (const end of ["\\n", "\\r\\n", "\\r"]) {
    const bytes = new TextEncoder().encode(text.replaceAll("\\n", end));
    found.add(read([bytes]));
    found.add(read([...bytes].map((byte) => Uint8Array.of(byte))));
    for (let at = 0; at <= bytes.length; at += 1) found.add(read([bytes.subarray(0, at), bytes.subarray(at)]));
  }
  return [...found].map(JSON.parse);
}
"""


async def test_frames_are_the_same_however_their_bytes_are_cut(visit: Visiting) -> None:
    """Every cut, between the bytes of a character or of a line end too, with each of the three line ends."""
    text = (
        ": hello\n\nretry: 3000\nid: 7\n\n"
        'id: 8\nevent: invoice.paid\ndata: {"name": "Zoë 🧾\u2028 \ufeff"}\n\n'
        "data\ndata:  two\nretry: soon\nid: a\0b\nother: x\nevent:\n\n:\n\nid: 9\ndata: never finished\n"
    )
    expected = [
        {"id": "7", "event": "message", "data": None, "retry": 3000, "filled": True},
        {
            "id": "8",
            "event": "invoice.paid",
            "data": '{"name": "Zoë 🧾\u2028 \ufeff"}',
            "retry": None,
            "filled": True,
        },
        {"id": None, "event": "message", "data": "\n two", "retry": None, "filled": True},
    ]
    assert await (await visit()).page.evaluate(FRAMES, text) == [expected]


async def test_a_frame_without_end_does_not_fill_the_memory(visit: Visiting) -> None:
    """A server that is not ours is given up, however it sends: in one line, or in one frame of many."""
    endless = """async (piece) => {
      const { FrameParser } = await import("/assets/billing-stream.js");
      const parser = new FrameParser();
      const bytes = new TextEncoder().encode(piece);
      for (let count = 0; count < 1000; count += 1) {
        try { parser.push(bytes); } catch (error) { return [error.message, count * piece.length]; }
      }
      return null;
    }"""
    page = (await visit()).page
    for piece in ("x" * 65536, "data: " + "x" * 65535 + "\n", ":" + "x" * 65535 + "\n"):
        found = await page.evaluate(endless, piece)
        assert found is not None
        assert found[0] == "a frame without end"
