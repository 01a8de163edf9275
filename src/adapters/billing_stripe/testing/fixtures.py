"""Files with one event per type and API version: `python -m billing_stripe.testing.fixtures write | lint`.

`write` generates them from the samples. `lint` checks each file independently: it is an event that a webhook could
carry, in the shape of its version, without secrets or personal data, and equal to what `write` generates.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from billing_core.errors import WebhookError
from billing_stripe.signature import StripeWebhookVerifier
from billing_stripe.testing.events import encode, sign
from billing_stripe.testing.fields import misplaced_fields
from billing_stripe.testing.samples import SAMPLES, sample_event

FOLDER: Final = Path("tests/fixtures/stripe")
FIXTURE_VERSIONS: Final = (
    "2020-08-27",
    "2022-11-15",
    "2024-06-20",
    "2025-03-31.basil",
    "2025-09-30.clover",
    "2026-10-28.endive",
)

_SECRET: Final = re.compile(r"\b(?:sk|rk|pk)_(?:live|test)_\w+|\bwhsec_\w+|-----BEGIN")
_MAIL: Final = re.compile(r"[\w.+-]+@([\w.-]+)")
_CARD: Final = re.compile(r"\b(?:\d[ -]?){13,19}\b")
_HOSTS: Final = re.compile(r"(?:[\w-]+\.)*(?:example\.com|stripe\.com)")
_PERSONAL: Final = frozenset({"address", "phone", "shipping", "ip", "ip_address", "last4", "tax_ids", "evidence"})
_TEST_CARDS: Final = ("4242", "4444")
"""The last digits of Stripe's own test cards."""
_FICTIONAL: Final = frozenset({"Example Ltd", "Team", "Crew", "Prepaid credit"})
_SIGNED_WITH: Final = "whsec_of_no_endpoint"


class _Clock:
    """The time of the check, for signatures."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def render() -> Iterator[tuple[Path, bytes]]:
    """Return every fixture by its path within the folder."""
    for api_version in FIXTURE_VERSIONS:
        for type_ in SAMPLES:
            event = sample_event(type_, api_version)
            if event is not None:
                yield Path(api_version, f"{type_}.json"), encode(event) + b"\n"


def write(folder: Path) -> None:
    """Write the files, and delete obsolete ones."""
    rendered = dict(render())
    for stray in set(_files(folder)) - rendered.keys():
        (folder / stray).unlink()
    for path, body in rendered.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)


def lint(folder: Path) -> list[str]:
    """Return the faults of the files, one line each."""
    rendered = dict(render())
    found = {path: (folder / path).read_bytes() for path in _files(folder)}
    faults = [f"{path}: is missing" for path in sorted(rendered.keys() - found.keys())]
    for path, body in sorted(found.items()):
        if rendered.get(path) != body:
            faults.append(f"{path}: differs from the samples; run `make stripe-fixtures`")
        faults += [f"{path}: {fault}" for fault in faults_of(path, body)]
    return faults


def _files(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.glob("*/*") if path.is_file()]


def faults_of(path: Path, body: bytes) -> Iterator[str]:
    """Yield the faults of one file."""
    verifier = StripeWebhookVerifier((_SIGNED_WITH,), tolerance=timedelta(minutes=5), clock=_Clock())
    try:
        event = verifier.verify(body, sign(body, _SIGNED_WITH, datetime.now(UTC)))
    except WebhookError as error:
        yield f"is not an event: {error}"
        return
    if event.type != path.stem:
        yield f"is a {event.type}"
    if event.api_version != path.parent.name:
        yield f"is of version {event.api_version}"
    envelope = json.loads(body)
    yield from (f"{field} does not exist in this version" for field in misplaced_fields(envelope, path.parent.name))
    yield from _indiscretions(envelope)


def _indiscretions(value: object, key: str = "") -> Iterator[str]:
    """Yield values that look like secrets or personal data."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield from _indiscretions(member, name)
    elif isinstance(value, list):
        for member in value:
            yield from _indiscretions(member, key)
    elif value is not None and key in _PERSONAL and value not in _TEST_CARDS:
        yield f"{key} is personal data"
    elif isinstance(value, str):
        yield from _indiscreet_text(value, key)


def _indiscreet_text(text: str, key: str) -> Iterator[str]:
    if _SECRET.search(text):
        yield f"{key} contains a key"
    if _CARD.search(text):
        yield f"{key} could be a card number"
    if key.endswith("name") and text not in _FICTIONAL:
        yield f"{key} is not one of the example names"
    for match in _MAIL.finditer(text):
        if match[1] != "example.com":
            yield f"{key} has an address outside example.com"
    if "://" in text and _HOSTS.fullmatch(urlsplit(text).hostname or "") is None:
        yield f"{key} links to a host other than example.com or stripe.com"


def main(arguments: list[str]) -> int:
    """Write or lint the fixtures of the repository in the working directory."""
    match arguments:
        case ["write"]:
            write(FOLDER)
            return 0
        case ["lint"]:
            faults = lint(FOLDER)
            sys.stderr.writelines(f"{FOLDER / fault}\n" for fault in faults)
            return 1 if faults else 0
    sys.stderr.write("usage: python -m billing_stripe.testing.fixtures write | lint\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
