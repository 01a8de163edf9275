"""`billing stripe setup` from an empty directory to a proof, and every way to be interrupted on it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import attrs
import pytest
from tests.unit.setup.directory import KEY, URL, Directory, KilledError

from billing_app.errors import OperatorError
from billing_app.setup.errors import SetupError
from billing_app.setup.report import to_json
from billing_app.setup.webhook_url import public_url, read_webhook_url
from billing_app.troubleshooting import KeyTrouble, SetupTrouble
from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe import faults

DENIED = faults.Answer(status=403, body=b'{"error": {"type": "invalid_request_error", "message": "no"}}')


def secrets_of(directory: Directory) -> set[str]:
    """Return every secret that a run knows."""
    settings = directory.settings
    return {KEY, *(each.reveal() for each in (*settings.stripe.webhook_secrets, *settings.tokens.secrets))}


class TestARun:
    async def test_an_empty_directory_becomes_a_working_one(self, directory: Directory) -> None:
        """The catalog is written and provisioned, the secrets are recorded, and an event is applied with them."""
        report = await directory.run()
        settings = directory.settings
        (endpoint,) = directory.fake.account.all(objects.WebhookEndpoint)
        (portal,) = directory.fake.account.all(objects.PortalConfiguration)
        assert [plan.plan_code for plan in settings.catalog.plans] == ["starter", "pro"]
        assert [secret.reveal() for secret in settings.stripe.webhook_secrets] == [endpoint.secret]
        assert settings.stripe.portal_configuration == portal.configuration_id
        assert settings.server.webhook_url == endpoint.url == URL
        assert settings.switches.billing
        assert stat.S_IMODE(directory.env_file.stat().st_mode) == 0o600
        ((proven, event),) = directory.proofs
        assert proven.stripe.webhook_secrets == settings.stripe.webhook_secrets
        assert event["type"] in ("product.created", "price.created")
        assert report.proof is not None
        assert directory.asked == ["Do this?"]

    async def test_the_first_catalog_has_what_a_team_needs(self, directory: Directory) -> None:
        """Two plans by month and year, a trial, seats, a metered feature with its meter, and features."""
        await directory.run()
        starter, pro = directory.settings.catalog.plans
        for plan in (starter, pro):
            assert {price.interval for price in plan.prices if price.role == "base"} == {"month", "year"}
            assert plan.trial_days == 7
            assert plan.seats is not None
        assert [price.feature for price in pro.prices if price.role == "metered"] == ["api_calls"]
        (meter,) = directory.fake.account.all(objects.Meter)
        assert meter.event_name == "api_calls"

    async def test_everything_is_shown_before_it_is_done(self, directory: Directory) -> None:
        """Account, mode, and the whole plan; after a no, nothing has changed anywhere."""

        class RefusedError(Exception):
            """The answer was no."""

        def refuse(_question: str) -> None:
            assert "Stripe account acct_1FakeStripe000000 (Fake Stripe), test mode" in directory.person.text
            assert "+ Create price pro_monthly: 29.00 USD every month." in directory.person.text
            assert "+ ENABLE_BILLING=true" in directory.person.text
            raise RefusedError

        directory.confirm = refuse
        with pytest.raises(RefusedError):
            await directory.run()
        assert directory.writes() == 0
        assert not directory.env_file.exists()
        assert not directory.rules_file.exists()

    async def test_a_second_run_changes_nothing_and_says_so(self, directory: Directory) -> None:
        """Neither at Stripe nor here, and it asks nothing; the proof is repeated."""
        await directory.run()
        before = (directory.writes(), directory.env_file.read_bytes(), directory.rules_file.read_bytes())
        directory.asked.clear()
        report = await directory.run(webhook_url=None)  # the first run has recorded it
        assert (directory.writes(), directory.env_file.read_bytes(), directory.rules_file.read_bytes()) == before
        assert report.changes_nothing
        assert "Everything is set up already. Nothing changes." in directory.person.text
        assert directory.asked == []
        assert len(directory.proofs) == 2

    async def test_a_dry_run_changes_nothing(self, directory: Directory) -> None:
        """It shows the same."""
        report = await directory.run(dry_run=True)
        assert directory.writes() == 0
        assert list(directory.path.iterdir()) == []
        assert report.drift
        assert not report.done
        assert "+ Create product billing-plan-pro (Pro)." in directory.person.text

    async def test_a_check_finds_drift(self, directory: Directory) -> None:
        """Before set-up, and after someone changed what it made."""
        assert (await directory.run(check=True)).drift
        await directory.run()
        assert not (await directory.run(check=True)).drift
        (endpoint,) = directory.fake.account.all(objects.WebhookEndpoint)
        directory.fake.put(attrs.evolve(endpoint, enabled_events=("invoice.paid",)))
        assert (await directory.run(check=True)).drift
        directory.fake.put(endpoint)
        text = directory.rules_file.read_text(encoding="utf-8")
        directory.rules_file.write_text(text.replace("2900 ", "3900 ").replace("2900\n", "3900\n"), encoding="utf-8")
        report = await directory.run(check=True)
        assert [step.name for step in report.plan.pending if step.kind == "price"] == ["pro_monthly"]

    async def test_a_rules_file_is_never_replaced(self, directory: Directory) -> None:
        """The plans of a team are what is provisioned."""
        directory.rules_file.write_text(
            '[plans.gold]\nprices = [{ lookup_key = "gold", interval = "month", amount = 1, currency = "usd" }]\n',
            encoding="utf-8",
        )
        before = directory.rules_file.read_bytes()
        report = await directory.run()
        assert directory.rules_file.read_bytes() == before
        assert report.new_file is None
        assert [price.lookup_key for price in directory.fake.account.all(objects.Price)] == ["gold"]

    async def test_a_rules_file_without_plans_leaves_them_to_the_price_map(self, directory: Directory) -> None:
        """The file is a team's; the short form holds the first plans, and the next run keeps to it."""
        directory.rules_file.write_text('[access]\ntrialing = "full"\n', encoding="utf-8")
        await directory.run()
        starter, pro = directory.settings.catalog.plans
        assert [price.role for price in (*starter.prices, *pro.prices)] == ["base", "base", "base", "base", "metered"]
        assert {price.price_id for price in (*starter.prices, *pro.prices)} == {
            price.price_id for price in directory.fake.account.all(objects.Price)
        }
        before = directory.writes()
        assert (await directory.run()).changes_nothing
        assert directory.writes() == before

    async def test_earlier_signing_secrets_stay_valid(self, directory: Directory) -> None:
        """Events of another endpoint, or of the Stripe CLI, are still accepted."""
        directory.env_file.write_text("# ours\nSTRIPE_WEBHOOK_SECRET=whsec_old\nOTHER=1\n", encoding="utf-8")
        await directory.run()
        (endpoint,) = directory.fake.account.all(objects.WebhookEndpoint)
        secrets = [secret.reveal() for secret in directory.settings.stripe.webhook_secrets]
        assert secrets == ["whsec_old", endpoint.secret]
        assert directory.env_file.read_text(encoding="utf-8").startswith("# ours\n")

    async def test_nothing_that_is_shown_holds_a_secret(self, directory: Directory) -> None:
        """Neither the text nor the JSON, not even while they are new."""
        report = await directory.run()
        shown = directory.person.text + json.dumps(to_json(report))
        assert [secret for secret in secrets_of(directory) if secret in shown] == []
        assert "STRIPE_WEBHOOK_SECRET=whsec_…" in json.dumps(to_json(report), ensure_ascii=False)

    async def test_json_says_what_was_done(self, directory: Directory) -> None:
        """For scripts: counts, ids, and whether the event was applied."""
        done = to_json(await directory.run())
        assert done["counts"] == {"created": 18, "changed": 0, "left": 0}
        assert done["account"] == {"id": "acct_1FakeStripe000000", "name": "Fake Stripe"}
        assert done["event"]["outcome"] == "applied"
        again = to_json(await directory.run())
        assert again["counts"] == {"created": 0, "changed": 0, "left": 18}

    async def test_it_ends_with_commands_to_paste(self, directory: Directory) -> None:
        """Without a Stripe CLI none of its commands is named."""
        report = await directory.run()
        assert [step.split(maxsplit=1)[1] for step in report.next_steps] == [
            "serve",
            "events list --since 10m",
        ]

    async def test_a_destination_for_thin_events_is_left_to_a_person(self, directory: Directory) -> None:
        """Beside a new endpoint, for a catalog with usage; it is not repeated."""
        report = await directory.run()
        assert "v1.billing.meter.error_report_triggered" in " ".join(report.by_hand)
        assert "By hand: To learn of usage that Stripe refuses" in directory.person.text
        assert (await directory.run()).by_hand == ()

    async def test_a_forgotten_portal_configuration_is_a_change_that_is_shown(self, directory: Directory) -> None:
        """As after a kill before it was recorded."""
        await directory.run()
        kept = [line for line in directory.env_file.read_text("utf-8").splitlines() if "PORTAL" not in line]
        directory.env_file.write_text("\n".join(kept) + "\n", encoding="utf-8")
        report = await directory.run()
        assert not report.changes_nothing
        assert any(line.startswith("+ STRIPE_PORTAL_CONFIGURATION=bpc_") for line in report.file_changes)
        assert (await directory.run()).changes_nothing

    async def test_a_key_that_may_not_show_its_account_is_enough(self, directory: Directory) -> None:
        """Restricted keys often may not."""
        directory.fake.fail("/v1/account", DENIED)
        await directory.run()
        assert "Stripe account an account that the key may not show" in directory.person.text

    async def test_two_runs_at_once_make_one_catalog(self, directory: Directory) -> None:
        """The file of the first one is kept, and its steps are the same requests."""
        other = attrs.evolve(directory)
        await directory.run()
        await other.run()
        assert len(list(directory.fake.account.all(objects.Price))) == 5


class TestInterruptions:
    @pytest.mark.parametrize("line", [3, 27, 42, 44])
    async def test_a_killed_run_is_completed_by_the_next_one(self, directory: Directory, line: int) -> None:
        """At a line that it shows: nothing is made twice, and no secret is lost."""
        directory.person.dies_at = line
        with pytest.raises(KilledError):
            await directory.run()
        directory.person.dies_at = None
        await directory.run()
        (endpoint,) = directory.fake.account.all(objects.WebhookEndpoint)
        assert [secret.reveal() for secret in directory.settings.stripe.webhook_secrets] == [endpoint.secret]
        assert len(list(directory.fake.account.all(objects.Price))) == 5
        assert len(list(directory.fake.account.all(objects.Product))) == 3
        assert directory.settings.switches.billing
        assert directory.proofs

    async def test_an_outage_while_the_secret_is_handed_over_loses_nothing(self, directory: Directory) -> None:
        """Stripe shows the secret again to the run that repeats the request."""
        directory.fake.fail("/v1/webhook_endpoints/*", faults.server_error(), times=9, method="POST")
        with pytest.raises(SetupError):
            await directory.run()
        directory.fake.clear_faults()
        await directory.run()
        (endpoint,) = directory.fake.account.all(objects.WebhookEndpoint)
        assert [secret.reveal() for secret in directory.settings.stripe.webhook_secrets] == [endpoint.secret]


class TestTroubles:
    """Each failure names its row of the troubleshooting matrix."""

    @pytest.mark.parametrize(
        ("path", "fault", "row"),
        [
            (
                "/v1/prices",
                faults.Answer(status=401, body=b'{"error": {"type": "invalid_request_error"}}'),
                KeyTrouble.KEY_IS_REFUSED,
            ),
            ("/v1/products", DENIED, SetupTrouble.SETUP_LACKS_A_PERMISSION),
            ("/v1/products", faults.stored_error(), SetupTrouble.ACCOUNT_CHANGES_MEANWHILE),
            ("/v1/products", faults.server_error(), KeyTrouble.STRIPE_IS_UNREACHABLE),
            (
                "/v1/prices",
                faults.Answer(status=400, body=b'{"error": {"type": "invalid_request_error", "param": "currency"}}'),
                SetupTrouble.STEP_IS_REFUSED,
            ),
        ],
        ids=["refused key", "missing permission", "stored errors", "outage", "refused step"],
    )
    async def test_an_error_of_stripe(
        self, directory: Directory, path: str, fault: faults.Fault, row: KeyTrouble | SetupTrouble
    ) -> None:
        """The message says which step, what to do, and that a rerun continues there."""
        directory.fake.fail(path, fault, times=20, method="POST")
        with pytest.raises(SetupError) as failed:
            await directory.run()
        assert str(row) in str(failed.value)
        assert failed.value.exit_code == 1
        assert KEY not in str(failed.value)
        directory.fake.clear_faults()
        await directory.run()
        assert directory.proofs

    async def test_prices_of_another_account(self, directory: Directory) -> None:
        """SetupTrouble.PRICES_CANNOT_BE_MADE: nothing is done before a person has decided."""
        directory.rules_file.write_text('[plans.pro]\nprices = [{ id = "price_elsewhere" }]\n', encoding="utf-8")
        with pytest.raises(SetupError) as failed:
            await directory.run()
        assert str(SetupTrouble.PRICES_CANNOT_BE_MADE) in str(failed.value)
        assert "price_elsewhere" in str(failed.value)
        assert (directory.writes(), directory.env_file.exists()) == (0, False)

    async def test_endpoints_that_the_key_may_not_manage(self, directory: Directory) -> None:
        """The steps are shown; all the rest is done."""
        directory.fake.fail("/v1/webhook_endpoints", DENIED, times=9)
        report = await directory.run()
        assert URL in " ".join(report.by_hand)
        assert str(SetupTrouble.ENDPOINTS_ARE_NOT_PERMITTED) in directory.person.text
        assert str(SetupTrouble.NO_WAY_FOR_WEBHOOKS) in directory.person.text
        assert report.proof is None

    async def test_a_secret_that_was_lost(self, directory: Directory) -> None:
        """It is said once, and not again when the person has copied it."""
        await directory.run()
        (endpoint,) = directory.fake.account.all(objects.WebhookEndpoint)
        lost = attrs.evolve(
            endpoint, metadata={**endpoint.metadata, "setup_key": "setup-1"}, created_at=objects.LONG_AGO
        )
        directory.fake.put(lost)
        report = await directory.run()
        assert endpoint.webhook_endpoint_id in " ".join(report.by_hand)
        assert str(SetupTrouble.ENDPOINT_SECRET_WAS_LOST) in directory.person.text
        assert (await directory.run()).by_hand == ()

    async def test_an_endpoint_that_a_person_made(self, directory: Directory) -> None:
        """Its secret is shown in the dashboard only, and without it no server can start."""
        endpoint = directory.fake.add_webhook_endpoint(URL, events=("*",))
        report = await directory.run()
        assert not report.complete
        assert report.next_steps == ()
        assert endpoint.webhook_endpoint_id in str(report.unproven)
        assert str(SetupTrouble.ENDPOINT_SECRET_WAS_LOST) in str(report.unproven)
        assert "add 72 event types; remove *." in directory.person.text
        with directory.env_file.open("a", encoding="utf-8") as file:
            file.write(f"STRIPE_WEBHOOK_SECRET={endpoint.secret}\n")
        assert (await directory.run()).complete

    async def test_a_variable_that_hides_the_file(self, directory: Directory) -> None:
        """The environment wins, so that the recorded secret would not be used."""
        directory.environ["STRIPE_WEBHOOK_SECRET"] = "whsec_ofTheEnvironment"
        await directory.run()
        assert str(SetupTrouble.ENVIRONMENT_HIDES_A_SECRET) in directory.person.text
        assert "STRIPE_WEBHOOK_SECRET of the environment wins" in directory.person.text

    async def test_no_way_for_webhooks(self, directory: Directory) -> None:
        """Neither a public address nor the Stripe CLI: the account is set up, and the message says what is missing."""
        report = await directory.run(webhook_url=None)
        assert report.done
        assert str(SetupTrouble.NO_WAY_FOR_WEBHOOKS) in str(report.unproven)
        assert list(directory.fake.account.all(objects.WebhookEndpoint)) == []

    @pytest.mark.parametrize(
        "url",
        [
            "billing.example.com",
            "http://billing.example.com",
            "https://localhost:8080",
            "https://10.0.0.7/webhooks/stripe",
            "https://billing",
            "https://user:word@billing.example.com",
            "https://billing.example.com/?a=1",
            "ftp://billing.example.com",
            "https://billing.example.com/other",
        ],
    )
    def test_addresses_that_stripe_cannot_reach(self, url: str) -> None:
        """They are refused before Stripe is asked."""
        with pytest.raises(OperatorError) as failed:
            read_webhook_url(url, local=False)
        assert str(SetupTrouble.WEBHOOK_URL_IS_UNUSABLE) in str(failed.value)

    def test_an_address_without_a_path_is_that_of_our_route(self) -> None:
        """And the address of the server is the one without it."""
        assert read_webhook_url("https://a.example.com/", local=False) == "https://a.example.com/webhooks/stripe"
        assert public_url("https://a.example.com/webhooks/stripe") == "https://a.example.com"

    async def test_a_file_that_cannot_be_written(self, directory: Directory, tmp_path: Path) -> None:
        """The folder is named, and nothing was made at Stripe."""
        missing = tmp_path / "missing" / ".env.local"
        with pytest.raises(OperatorError, match="missing"):
            await directory.run(env_file=missing)
        assert directory.writes() == 0
