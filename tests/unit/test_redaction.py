"""No secret of a process reaches its log, whatever way it takes: as text, as a key, in an error, by any logger."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import attrs
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from billing_app.http.access_log import AccessLogger
from billing_app.settings import Settings
from billing_app.settings.hidden import hidden_values
from billing_telemetry.logging import configure, follow_standard_logging

PASSWORD = "pa55/w@rd=7"
SECRETS = {
    "STRIPE_SECRET_KEY": "sk_test_51KEYKEYKEYKEYKEYKEYhunter22",
    "STRIPE_WEBHOOK_SECRET": "whsec_ONEONEONEONEONEONEhunter22,whsec_TWOTWOTWOTWOTWOTWOhunter22",
    "BILLING_JWT_SECRET": "JWTJWTJWTJWTJWTJWTJWTJWTJWJWThunter22",
    "BILLING_METRICS_TOKEN": "METRICSMETRICSMETRICShunter22",
    "BILLING_DEMO_TICKET_SECRET": "DEMODEMODEMODEMODEMODEMODEMODEMOhunter22",
    "DATABASE_URL": f"postgresql://user:{quote(PASSWORD, safe='')}@127.0.0.1:1/billing?sslpassword=QUERYhunter22",
    "DATABASE_DIRECT_URL": "postgresql://user:DIRECThunter22@127.0.0.1:1/billing",
    "REDIS_URL": "redis://:REDISREDIShunter22@127.0.0.1:1/0",
}
SETTINGS = Settings.load(SECRETS, Path("/nonexistent/.env.local"))
DATABASE_URL = SETTINGS.database.url
VALUES = {
    "key": SECRETS["STRIPE_SECRET_KEY"],
    "second signing secret": SECRETS["STRIPE_WEBHOOK_SECRET"].partition(",")[2],
    "token secret": SECRETS["BILLING_JWT_SECRET"],
    "metrics token": SECRETS["BILLING_METRICS_TOKEN"],
    "ticket secret": SECRETS["BILLING_DEMO_TICKET_SECRET"],
    "password": PASSWORD,
    "password of the direct way": "DIRECThunter22",
    "password of redis": "REDISREDIShunter22",
    "value of a query": "QUERYhunter22",
    "token of a tenant": "eyJhbGciOiJIUzI1NiJ9.eyJ0ZW5hbnRfaWQiOiJhY21lIn0.c2lnbmF0dXJlhunter22",
    "key of another account": "rk_live_" + "51OTHEROTHERhunter22",
}
Write = Callable[[str], None]
Format = Literal["json", "console", "host"]
log = structlog.get_logger()
records = logging.getLogger("a.library")


@attrs.frozen
class Holder:
    value: Any


def fail(secret: str) -> None:
    """Raise with the secret in the text, in a note, in the cause and in the values of local variables."""
    local = {"held": secret}
    try:
        int(f"inner {local}")
    except ValueError as cause:
        error = RuntimeError(f"outer {secret}")
        error.add_note(f"note {secret}")
        raise error from cause


def caught(write: Callable[[BaseException], None]) -> Write:
    def written(secret: str) -> None:
        try:
            fail(secret)
        except RuntimeError as error:
            write(error)

    return written


def grouped(secret: str) -> None:
    log.error("x", exc_info=ExceptionGroup("several", [OSError(secret), ValueError(f"<{secret}>")]))


def bound(secret: str) -> None:
    with structlog.contextvars.bound_contextvars(context=secret):
        log.bind(kept=secret).info("x")


def requested(secret: str) -> None:
    headers = {"Authorization": f"Bearer {secret}", "Cookie": f"session={secret}", "Referer": f"https://x/?a={secret}"}
    request = make_mocked_request("GET", f"/api/v1/billing/stream?ticket={quote(secret)}", headers=headers)
    AccessLogger(records, "%r").log(request, web.Response(status=404), 0.1)
    log.info("x", headers=dict(request.headers), url=str(request.url), request=request)
    log.info(f"asked with {headers}")


WAYS: dict[str, Write] = {
    "message": lambda secret: log.info(f"it is {secret}"),
    "argument of the message": lambda secret: log.info("it is %s", secret),
    "value": lambda secret: log.info("x", detail=secret),
    "bytes": lambda secret: log.info("x", detail=secret.encode()),
    "key": lambda secret: log.info("x", **{secret: 1}),
    "key of a mapping": lambda secret: log.info("x", detail={secret: {"deep": {secret: secret}}}),
    "key that says it": lambda secret: log.info("x", password=secret[:4], api_key=secret[4:]),
    "collections": lambda secret: log.info("x", detail=[(secret,), {secret}, frozenset([secret])]),
    "object": lambda secret: log.info("x", detail=Holder(Holder([secret]))),
    "path": lambda secret: log.info("x", detail=Path("/run") / secret),
    "url": lambda secret: log.info("x", url=f"postgresql://user:{secret}@db.example:5432/billing?sslmode=require"),
    "query": lambda secret: log.info(f"GET https://example.com/?id=1&access_token={quote(secret)}&b=2"),
    "quoted": lambda secret: log.info("x", detail=quote(secret, safe="")),
    "error": caught(lambda error: log.error("x", error=error)),
    "exception": caught(lambda _: log.exception("x")),
    "exception with locals": caught(lambda error: log.error("x", exc_info=(type(error), error, error.__traceback__))),
    "group of exceptions": grouped,
    "stack": lambda secret: log.info(f"{secret}", stack_info=True),
    "context": bound,
    "request": requested,
    "settings": lambda _: log.info(
        f"{SETTINGS!r}", settings=SETTINGS, stripe=SETTINGS.stripe, url=SETTINGS.database.url
    ),
}
OF_OTHERS: dict[str, Write] = {
    "record": lambda secret: records.error("it is " + secret),
    "argument of a record": lambda secret: records.error("%s and %r", secret, [secret]),
    "mapping of a record": lambda secret: records.error("%(given)s", {"given": secret}),
    "extra of a record": lambda secret: records.error("x", extra={"given": secret}),
    "exception of a record": caught(lambda _: records.exception("x")),
    "stack of a record": lambda secret: records.error(secret, stack_info=True),
    "warning of a dependency": lambda secret: logging.getLogger("aiohttp.server").warning("Authorization: %s", secret),
}


WAYS |= OF_OTHERS
FORMATS = ("json", "console", "host")
WRITTEN = [(format_, way) for format_ in FORMATS for way in WAYS if format_ != "host" or way not in OF_OTHERS]
"""In the process of a host, the records of others are the host's."""


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """Configure the log of a process, or our lines in the log of a host's, and restore everything afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    if request.param == "host":
        follow_standard_logging(hidden_values(SETTINGS))
        root.handlers[:] = [logging.StreamHandler(stream)]
        root.setLevel(logging.INFO)
    else:
        configure(level="info", format=request.param, stream=stream, secrets=hidden_values(SETTINGS))
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(("written", "way"), WRITTEN, indirect=["written"])
def test_no_way_into_the_log_shows_a_secret(written: io.StringIO, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Every secret in turn; the line is written all the same."""
    monkeypatch.setitem(globals(), "log", structlog.get_logger())
    monkeypatch.setattr("billing_app.http.access_log.log", structlog.get_logger())
    for name, secret in VALUES.items():
        WAYS[way](secret)
        text = written.getvalue()
        assert text, name
        for form in (secret, quote(secret), quote(secret, safe="")):
            assert form not in text, name
        written.seek(0)
        written.truncate()


def test_a_password_that_is_a_word_stays_a_word() -> None:
    """The default of many images would remove `postgres` from every line; where it is a password it is masked."""
    stream = io.StringIO()
    settings = Settings.load({"DATABASE_URL": "postgresql://postgres:postgres@db/billing"}, Path("/nonexistent"))
    configure(level="info", format="json", stream=stream, secrets=hidden_values(settings))
    structlog.get_logger().info("x", dependency="postgres", url="postgresql://postgres:postgres@db/billing")
    structlog.reset_defaults()
    entry = json.loads(stream.getvalue())
    assert (entry["dependency"], entry["url"]) == ("postgres", "postgresql://postgres:…@db/billing")


def test_every_secret_of_the_settings_is_hidden() -> None:
    """All that are declared; of a URL, the parts that are secret."""
    hidden = hidden_values(SETTINGS)
    expected = [*SECRETS["STRIPE_WEBHOOK_SECRET"].split(","), PASSWORD, "REDISREDIShunter22", "QUERYhunter22"]
    expected += [value for name, value in SECRETS.items() if not name.endswith(("_URL", "WEBHOOK_SECRET"))]
    assert set(expected) <= set(hidden)
