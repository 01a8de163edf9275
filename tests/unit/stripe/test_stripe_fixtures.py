"""The events in tests/fixtures/stripe: they could be webhooks, and all versions translate to the same result."""

import json
from pathlib import Path

import attrs
import pytest

from billing_core.events import EventKey, ProviderEvent, Translation
from billing_core.model import EventId, PaymentSnapshot, PriceSnapshot, Snapshot, SubscriptionSnapshot
from billing_stripe import events_reference
from billing_stripe.testing import fixtures
from billing_stripe.testing.samples import AT, SAMPLES
from billing_stripe.translate import HANDLED_TYPES, TRANSLATORS, StripeTranslator

pytestmark = pytest.mark.stripe

REPOSITORY = Path(__file__).parents[3]
FOLDER = REPOSITORY / fixtures.FOLDER
NAMING_THE_PAYMENT = ("invoice.paid", "invoice.payment_succeeded", "charge.refunded")


def translated(path: Path) -> Translation:
    body = path.read_bytes()
    event = ProviderEvent(
        key=EventKey(event_id=EventId("evt_1"), livemode=False),
        type=path.stem,
        api_version=path.parent.name,
        created_at=AT,
        received_at=AT,
        body=body,
    )
    return StripeTranslator().translate(event)


def comparable_snapshots_of(translation: Translation) -> tuple[Snapshot, ...]:
    """Return the snapshots that all versions have.

    Since 2025-03-31 the payment of an invoice has a separate event and is no longer named in the invoice or the charge.
    Meters exist since 2024, reasons of cancellations since 2022.
    """
    kept = [seen for seen in translation.snapshots if not isinstance(seen, PaymentSnapshot)] or translation.snapshots
    return tuple(map(_without_newer_fields, kept))


def _without_newer_fields(seen: Snapshot) -> Snapshot:
    match seen:
        case PriceSnapshot():
            return attrs.evolve(seen, meter_id=None)
        case SubscriptionSnapshot():
            return attrs.evolve(seen, cancellation_reason=None)
        case _:
            return seen


def versions_of(type: str) -> list[Path]:
    return [path for version in fixtures.FIXTURE_VERSIONS if (path := FOLDER / version / f"{type}.json").exists()]


def test_the_fixtures_have_no_faults() -> None:
    """When this fails, run `make stripe-fixtures`."""
    assert fixtures.lint(FOLDER) == []


def test_every_handled_type_has_a_sample() -> None:
    """A new row in the table needs a sample."""
    assert SAMPLES.keys() == TRANSLATORS.keys()


@pytest.mark.parametrize("type", sorted(TRANSLATORS))
def test_all_versions_translate_to_the_same(type: str) -> None:
    """All versions of an event translate to the same result, and nothing is missing."""
    said = [translated(path) for path in versions_of(type)]
    assert len(said) == (3 if type == "invoice_payment.paid" else len(fixtures.FIXTURE_VERSIONS))
    last = said[-1]
    for one in said:
        assert comparable_snapshots_of(one) == comparable_snapshots_of(last)
        assert (one.tenant_hint, one.creation, one.notice, one.ignored) == (
            last.tenant_hint,
            last.creation,
            last.notice,
            last.ignored,
        )
        assert one.missing == ()


@pytest.mark.parametrize("type", sorted(TRANSLATORS))
def test_every_event_has_an_owner(type: str) -> None:
    """To a customer or to the owner of a related object; catalog events, test clocks and ignored ones have no owner."""
    for said in (translated(path) for path in versions_of(type)):
        without_owner = type.startswith(("price.", "product.", "test_helpers.")) or said.ignored is not None
        assert (said.customer_id is None and said.about == ()) is without_owner


@pytest.mark.parametrize("type", NAMING_THE_PAYMENT)
def test_the_payment_of_an_invoice_is_the_same_wherever_it_is_named(type: str) -> None:
    """Older versions name it in the invoice or the charge, newer ones in a separate event."""
    (named_apart,) = translated(FOLDER / "2026-10-28.endive" / "invoice_payment.paid.json").snapshots
    for version in ("2020-08-27", "2022-11-15", "2024-06-20"):
        assert named_apart in translated(FOLDER / version / f"{type}.json").snapshots


def test_subscribed_types_have_an_effect() -> None:
    """Plans are known only to be ignored."""
    assert set(HANDLED_TYPES) == TRANSLATORS.keys() - {"plan.created", "plan.updated", "plan.deleted"}


def test_the_page_about_events_is_up_to_date() -> None:
    """When this fails, run `make docs`."""
    assert (REPOSITORY / events_reference.DOCUMENT).read_text(encoding="utf-8") == events_reference.render()


class TestLint:
    """The faults that `lint` finds."""

    @pytest.mark.parametrize(
        ("old", "new", "fault"),
        [
            ('"id": "evt_', '"id": "', "is not an event: the event has no usable id"),
            ('"type": "customer.updated"', '"type": "customer.created"', "is a customer.created"),
            ('"api_version": "2020-08-27"', '"api_version": "2022-11-15"', "is of version 2022-11-15"),
            (
                '"phone": null',
                '"phone": null, "customer_account": null',
                "customer.customer_account does not exist in this version",
            ),
            ('"phone": null', '"phone": "+1 555 0100"', "phone is personal data"),
            ("billing@example.com", "jane@gmail.com", "email has an address outside example.com"),
            ("Example Ltd", "Jane Roe", "name is not one of the example names"),
            ('"description": null', '"description": "sk_' + 'live_abc"', "description contains a key"),
            (
                '"description": null',
                '"description": "4242 4242 4242 4242"',
                "description could be a card number",
            ),
            (
                '"description": null',
                '"description": "https://evil.test/x"',
                "description links to a host other than example.com or stripe.com",
            ),
        ],
    )
    def test_it_finds_unwanted_content(self, old: str, new: str, fault: str) -> None:
        """One fault, with its name."""
        path = Path("2020-08-27", "customer.updated.json")
        text = (FOLDER / path).read_text(encoding="utf-8")
        assert old in text
        assert set(fixtures.faults_of(path, text.replace(old, new).encode())) == {fault}

    def test_it_finds_missing_stray_and_changed_files(self, tmp_path: Path) -> None:
        """`write` corrects them."""
        fixtures.write(tmp_path)
        moved, changed = (Path("2020-08-27", f"customer.{name}.json") for name in ("updated", "created"))
        (tmp_path / moved).rename(tmp_path / moved.with_name("customer.invented.json"))
        (tmp_path / changed).write_bytes((tmp_path / changed).read_bytes() + b"\n")
        assert fixtures.lint(tmp_path) == [
            f"{moved}: is missing",
            f"{changed}: differs from the samples; run `make stripe-fixtures`",
            "2020-08-27/customer.invented.json: differs from the samples; run `make stripe-fixtures`",
            "2020-08-27/customer.invented.json: is a customer.updated",
        ]
        fixtures.write(tmp_path)
        assert fixtures.lint(tmp_path) == []

    def test_the_command_shows_its_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without an argument it fails."""
        assert fixtures.main([]) == 2
        assert "write | lint" in capsys.readouterr().err


def test_files_contain_events_in_stripes_layout() -> None:
    """Indented by two spaces, like webhooks."""
    body = (FOLDER / "2026-10-28.endive" / "invoice.paid.json").read_text(encoding="utf-8")
    assert body == json.dumps(json.loads(body), indent=2, ensure_ascii=False) + "\n"
