"""billing-stream.js in a real browser, against scripted responses: every course a connection can take."""

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
    const check = () => {
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
        check();
        if (options.stopAt === message.sequence) stream.stop();
        if (options.throwAt === message.sequence) throw new Error("a fault of the frontend");
      },
      onStatus: (status, error) => {
        log.statuses.push(status);
        if (status === "refused") log.refused = [error.name, error.status, error.code, error.message];
        check();
      },
    });
    window.playing = stream;
    const polling = setInterval(check, 10);
    stream.start();
    setTimeout(() => { clearInterval(polling); resolve(); }, 15000);
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
    """Run a client against these responses, and return what it did and reported."""
    script = {"answers": answers, "states": states, "until": until, "options": options}
    return await (await visit()).page.evaluate(PLAY, script)


async def test_it_starts_after_the_state_and_resumes_after_the_last_message(visit: Visiting) -> None:
    """`after` is the state's number on the first connection; later ones send Last-Event-ID."""
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
    """The first frame has an id and no data, which is enough."""
    log = await play(
        visit, {"chunks": [OPEN.format(7)]}, {"chunks": messages(8), "hold": True}, states=[7], until={"events": 1}
    )
    assert [each.get("last") for each in log["requests"]] == [None, "7"]
    assert log["events"] == [8]


async def test_a_missing_number_is_requested(visit: Visiting) -> None:
    """Messages after a gap are not delivered before the gap is filled."""
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
    """Ids without data advance the position past filtered messages."""
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
    """Numbers of another history are useless: the state is loaded, and the stream continues from there."""
    log = await play(
        visit,
        {"chunks": [*messages(6, opening=5), 'id: 2\nevent: reset\ndata: {"sequence":2}\n\n', *messages(3)]},
        {"chunks": messages(3, opening=2), "hold": True},
        states=[5, 2],
        until={"events": 2},
    )
    assert (log["events"], log["states"]) == ([6, 3], [5, 2])
    assert [each["url"] for each in log["requests"]] == ["/stream?after=5", "/stream?after=2"]


async def test_objects_that_an_operator_moved_load_the_state_again(visit: Visiting) -> None:
    """They have no messages of their own. Withdrawn messages and a link that an event made need nothing."""

    def caused(number: int, event_type: str, kind: str) -> str:
        data = json.dumps({"sequence": number, "event_type": event_type, "source": {"kind": kind, "id": "1"}})
        return f"id: {number}\nevent: {event_type}\ndata: {data}\n\n"

    chunks = [
        *messages(opening=5),
        caused(6, "customer.linked", "webhook"),
        caused(7, "withdrawn", "link"),
        caused(8, "customer.unlinked", "link"),
    ]
    log = await play(
        visit,
        {"chunks": [*chunks, *messages(9)]},
        {"chunks": messages(10, opening=9), "hold": True},
        states=[5, 9],
        until={"events": 4},
    )
    assert (log["events"], log["states"]) == ([6, 7, 8, 10], [5, 9])
    assert [each["url"] for each in log["requests"]] == ["/stream?after=5", "/stream?after=9"]


async def test_an_id_that_the_server_refuses_loads_the_state_again(visit: Visiting) -> None:
    """A 400 about Last-Event-ID is not final: the position belongs to another history."""
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


async def test_reconnect_resumes_from_the_same_position(visit: Visiting) -> None:
    """Nothing after `reconnect` is read."""
    ending = 'retry: 10\nevent: reconnect\ndata: {"reason":"max_life"}\n\n'
    log = await play(
        visit,
        {"chunks": [*messages(1, opening=0), ending, *messages(2)], "hold": True},
        {"chunks": messages(2, opening=1), "hold": True},
        states=[0],
        until={"events": 2},
    )
    assert log["events"] == [1, 2]
    assert [each.get("last") for each in log["requests"]] == [None, "1"]


async def test_a_refused_token_is_renewed_once(visit: Visiting) -> None:
    """A token that has just expired costs one request, not the session."""
    log = await play(
        visit, {"status": 401}, {"chunks": messages(1, opening=0), "hold": True}, states=[0], until={"events": 1}
    )
    assert log["tokens"] == [False, True]
    assert [each["token"] for each in log["requests"]] == ["Bearer token-1", "Bearer token-2"]
    assert "refused" not in log["statuses"]


@pytest.mark.parametrize(
    ("status", "code", "requests"), [(401, "unauthorized", 2), (403, "wrong_role", 1), (404, "stream_disabled", 1)]
)
async def test_a_refusal_is_reported_and_final(visit: Visiting, status: int, code: str, requests: int) -> None:
    """A retry would not help: the handler gets the status, the code and the message."""
    refusal = {"status": status, "chunks": [json.dumps({"error": {"code": code, "message": "Because."}})]}
    log = await play(visit, refusal, refusal, states=[0], until={"status": "refused"})
    assert log["refused"] == ["RefusedError", status, code, "Because."]
    assert (log["status"], len(log["requests"])) == ("refused", requests)


async def test_a_constant_token_is_not_tried_twice(visit: Visiting) -> None:
    """The second attempt could not differ."""
    log = await play(visit, {"status": 401}, states=[0], until={"status": "refused"}, token="abc")
    assert [each["token"] for each in log["requests"]] == ["Bearer abc"]
    assert log["refused"][:3] == ["RefusedError", 401, "http_401"]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_respected(visit: Visiting, status: int) -> None:
    """No request is sent before the time that the server names."""
    log = await play(
        visit,
        {"status": status, "headers": {"Retry-After": "2"}, "chunks": ["<html>busy</html>"]},
        {"chunks": messages(1, opening=0), "hold": True},
        states=[0],
        until={"events": 1},
    )
    assert log["requests"][1]["at"] - log["requests"][0]["at"] >= 1990
    assert log["events"] == [1]


async def test_a_silent_connection_is_closed(visit: Visiting) -> None:
    """Without keep-alives a connection is dead, even if the browser reports it open; comments count."""
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


async def test_a_load_that_hangs_is_repeated(visit: Visiting) -> None:
    """Caller code that hangs is abandoned like a silent connection."""
    log = await play(
        visit,
        {"chunks": messages(5, opening=4), "hold": True},
        states=["hang", 4],
        until={"events": 1},
        silence=100,
    )
    assert (log["states"], log["events"]) == ([4], [5])


async def test_a_handler_that_throws_costs_no_message(visit: Visiting) -> None:
    """The error is reported as uncaught, and the next message arrives on the same connection."""
    log = await play(
        visit, {"chunks": messages(1, 2, 3, opening=0), "hold": True}, states=[0], until={"events": 3}, throwAt=2
    )
    assert (log["events"], log["reported"], len(log["requests"])) == ([1, 2, 3], 1, 1)


async def test_nothing_is_delivered_after_stop(visit: Visiting) -> None:
    """Not even messages that were already read."""
    log = await play(
        visit, {"chunks": ["".join(messages(1, 2, 3, opening=0))]}, states=[0], until={"events": 2}, stopAt=2
    )
    assert (log["events"], log["status"], len(log["requests"])) == ([1, 2], "stopped", 1)


@pytest.mark.parametrize("data", ["{", "null", "7", '{"sequence":"8"}', '{"sequence":1e400}', "a\ndata: b"])
async def test_a_malformed_message_is_not_delivered(visit: Visiting, data: str) -> None:
    """The connection is closed, and the position is kept."""
    log = await play(
        visit,
        {"chunks": [*messages(1, opening=0), f"id: 2\ndata: {data}\n\n"]},
        {"chunks": messages(2, opening=1), "hold": True},
        states=[0],
        until={"events": 2},
    )
    assert log["events"] == [1, 2]
    assert [each.get("last") for each in log["requests"]] == [None, "1"]


async def test_it_reports_its_status(visit: Visiting) -> None:
    """Loading, connecting, catching up, live; and reconnecting in between, also after a failed connection."""
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
    const polling = setInterval(() => { if (done()) { clearInterval(polling); resolve(); } }, 20);
  });
  window.stream.start();
}
"""


async def test_a_real_server_resets_and_filters(site: Site, visit: Visiting) -> None:
    """A position that the history lacks leads to the state; filtered messages advance the position, too."""
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


async def test_frames_are_the_same_however_their_bytes_are_split(visit: Visiting) -> None:
    """Every split is tried, also within a character or a line ending, with each of the three line endings."""
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
    """An endless frame is refused, whether it is one line or many."""
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
