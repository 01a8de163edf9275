"""billing.toml says what is sold and who may do what; every fault in it has a place."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from billing_app import cli
from billing_app.container import Container
from billing_app.settings import Settings, SettingsError
from billing_app.settings.rules.access import ACCESS
from billing_app.settings.rules.document import path_text
from billing_app.settings.rules.reference import TABLES
from billing_core.model import (
    AccessPolicy,
    AccessState,
    Grace,
    Plan,
    PlanFeature,
    PlanMatch,
    PlanPrice,
    PriceId,
    ProductScope,
    ScopeRule,
    SeatBounds,
    TenantRules,
)

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "billing.example.toml"
SECRET = "sk_live_" + "51Ab" * 6


def load(folder: Path, text: str | bytes, **environ: str) -> Settings:
    """Load the settings of a folder with this billing.toml."""
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "billing.toml").write_bytes(content)
    return Settings.load(environ, folder / ".env.local")


def faults(folder: Path, text: str | bytes, **environ: str) -> Sequence[str]:
    """Return the faults of such settings, without the folder's name and the rows of the troubleshooting matrix."""
    with pytest.raises(SettingsError) as caught:
        load(folder, text, **environ)
    return [
        str(fault).removesuffix(f" See {fault.trouble}.").replace(f"{folder}/", "") for fault in caught.value.faults
    ]


def places(folder: Path, text: str, **environ: str) -> Sequence[str]:
    """Return only where the faults are and what is wrong, without the remedies."""
    return [fault.partition(". ")[0] for fault in faults(folder, text, **environ)]


class TestTheFile:
    def test_no_file_leaves_every_default(self, tmp_path: Path) -> None:
        """It is optional."""
        settings = Settings.load({}, tmp_path / ".env.local")
        assert settings == Settings()
        assert settings.rules.path is None

    @pytest.mark.parametrize("text", ["", "\ufeff# nothing\r\n", "[access]\n[tenants]\n"])
    def test_an_empty_file_leaves_every_default(self, tmp_path: Path, text: str) -> None:
        """Empty tables set nothing."""
        assert load(tmp_path, text) == Settings()

    def test_a_file_of_another_name_is_named_by_a_variable(self, tmp_path: Path) -> None:
        """In place of the one beside .env.local, which may name it, too."""
        other = tmp_path / "rules.toml"
        other.write_text('[tenants]\nlink = "subscription"\n', encoding="utf-8")
        assert load(tmp_path, "[typo]", BILLING_CONFIG=str(other)).tenants.link == "subscription"
        (tmp_path / ".env.local").write_text(f"BILLING_CONFIG={other}\n", encoding="utf-8")
        assert load(tmp_path, "[typo]").rules.path == other

    def test_a_named_file_that_is_missing_is_a_fault(self, tmp_path: Path) -> None:
        """A deployment that forgot to mount it must not start with other rules."""
        with pytest.raises(SettingsError, match=r"none\.toml does not exist\. Create it, or correct BILLING_CONFIG"):
            Settings.load({"BILLING_CONFIG": str(tmp_path / "none.toml")}, tmp_path / ".env.local")

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ('[tenants]\nlink = "customer\n', "billing.toml:2 is not valid TOML: Illegal character '\\n'"),
            ("[access]\nunpaid = ", "billing.toml:2 is not valid TOML: Invalid value"),
            ("[access]\n[access]", "billing.toml:2 is not valid TOML: Cannot declare ('access',) twice"),
            ("a = 1\nb = [", "billing.toml:2 is not valid TOML: Invalid value"),
            (b"# one\n# two \xff\n", "billing.toml:2 is not UTF-8 on this line"),
            (b"a = " + b"[" * 100_000, "billing.toml:1 is nested too deeply"),
            (b"a = " + b"9" * 5000, "billing.toml:1 is not valid TOML: Exceeds the limit"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_a_fault_with_its_line(
        self, tmp_path: Path, content: str | bytes, fault: str
    ) -> None:
        """Half a configuration is not used."""
        (found,) = faults(tmp_path, content)
        assert found.startswith(fault)

    def test_a_folder_in_its_place_is_a_fault(self, tmp_path: Path) -> None:
        """It is not the same as no file."""
        (tmp_path / "billing.toml").mkdir()
        with pytest.raises(SettingsError, match=r"billing\.toml cannot be read"):
            Settings.load({}, tmp_path / ".env.local")


PLAN_FAULTS = [
    ("plans = 1", "billing.toml:1 plans is 1"),
    ("[plans]\npro = true", "billing.toml:2 plans.pro is true, which cannot be used"),
    ('[plans]\n" pro" = {}', 'billing.toml:2 plans." pro" is " pro", which cannot be used'),
    ("[plans.pro]\nprice = []", "billing.toml:2 plans.pro.price is not a known key"),
    ("[plans.pro]\ntrial_days = 731", "billing.toml:2 plans.pro.trial_days is 731, which cannot be used"),
    ("[plans.pro]\ntrial_days = true", "billing.toml:2 plans.pro.trial_days is true, which cannot be used"),
    ("[plans.pro]\nseats = 5", "billing.toml:2 plans.pro.seats is 5, which cannot be used"),
    ("[plans.pro.seats]\nmin = -1", "billing.toml:2 plans.pro.seats.min is -1, which cannot be used"),
    ("[plans.pro.seats]\nmax = 0", "billing.toml:2 plans.pro.seats.max is 0, which cannot be used"),
    ("[plans.pro.seats]\nmin = 5\nmax = 4", "billing.toml:3 plans.pro.seats.max is 4, less than min, which is 5"),
    (
        "[[plans.pro.prices]]\nid = 'a'\nrole = 'sold'\nfeature = 'api'",
        'billing.toml:3 plans.pro.prices[0].role is "sold", which cannot be used',
    ),
    ("[plans.pro]\nprices = {}", "billing.toml:2 plans.pro.prices is a table, which cannot be used"),
    (
        "[[plans.pro.prices]]\namount = 1\ncurrency = 'usd'",
        "billing.toml:1 plans.pro.prices[0] has neither an id nor a lookup key",
    ),
    (
        "[[plans.pro.prices]]\nid = 'prod_1'",
        'billing.toml:2 plans.pro.prices[0].id is "prod_1", which cannot be used: '
        "it is the id of a product, not of a price",
    ),
    (
        "[[plans.pro.prices]]\nid = 'a'\nrole = 'sold'",
        'billing.toml:3 plans.pro.prices[0].role is "sold", which cannot be used',
    ),
    (
        "[[plans.pro.prices]]\nid = 'a'\nrole = 'metered'",
        "billing.toml:1 plans.pro.prices[0] is metered and has no feature",
    ),
    (
        "[[plans.pro.prices]]\nid = 'a'\nfeature = 'api'",
        "billing.toml:3 plans.pro.prices[0].feature is set, but the price is not metered",
    ),
    (
        "[[plans.pro.prices]]\nid = 'a'\ninterval = 'fortnight'",
        'billing.toml:3 plans.pro.prices[0].interval is "fortnight", which cannot be used',
    ),
    (
        "[[plans.pro.prices]]\nid = 'a'\ninterval_count = 3",
        "billing.toml:1 plans.pro.prices[0] has an interval_count and no interval",
    ),
    (
        "[[plans.pro.prices]]\nid = 'a'\namount = -1\ncurrency = 'usd'",
        "billing.toml:3 plans.pro.prices[0].amount is -1, which cannot be used",
    ),
    (
        "[[plans.pro.prices]]\nid = 'a'\namount = 9223372036854775808\ncurrency = 'usd'",
        "billing.toml:3 plans.pro.prices[0].amount is 9223372036854775808, which cannot be used",
    ),
    (
        "[[plans.pro.prices]]\nid = 'a'\namount = 49.0\ncurrency = 'usd'",
        "billing.toml:3 plans.pro.prices[0].amount is 49.0, which cannot be used",
    ),
    ("[[plans.pro.prices]]\nid = 'a'\namount = 1", "billing.toml:1 plans.pro.prices[0] has an amount and no currency"),
    (
        "[[plans.pro.prices]]\nid = 'a'\namount = 1\ncurrency = 'USD'",
        'billing.toml:4 plans.pro.prices[0].currency is "USD", which cannot be used',
    ),
    (
        "[[plans.pro.prices]]\nid = 'a'\nunit_amount_decimal = '-0.1'\ncurrency = 'usd'",
        'billing.toml:3 plans.pro.prices[0].unit_amount_decimal is "-0.1", which cannot be used',
    ),
    (
        "[[plans.pro.prices]]\nid = 'a'\namount = 1\nunit_amount_decimal = '1.1'\ncurrency = 'usd'",
        "billing.toml:4 plans.pro.prices[0].unit_amount_decimal is set beside amount",
    ),
    (
        "[plans.pro]\nprices = [{ id = 'a' }, { role = 'seat', id = 'a' }]",
        'billing.toml:2 plans.pro.prices[1].id is "a", which is used by billing.toml:2 plans.pro.prices[0].id',
    ),
    (
        "[plans]\na.prices = [{ id = 'p' }]\nb.prices = [{ id = 'p' }]",
        'billing.toml:3 plans.b.prices[0].id is "p", which is used by billing.toml:2 plans.a.prices[0].id',
    ),
    (
        "[plans]\na.prices = [{ lookup_key = 'k' }]\nb.match.lookup_keys = 'k'",
        'billing.toml:3 plans.b.match.lookup_keys is "k", which is used by billing.toml:2 plans.a.prices[0].lookup_key',
    ),
    (
        "[plans]\na.match.products = 'prod_1'\nb.match.products = ['prod_2', 'prod_1']",
        'billing.toml:3 plans.b.match.products[1] is "prod_1", which is used by billing.toml:2 plans.a.match.products',
    ),
    (
        "[plans]\na.match.metadata.plan = ['x', 'y']\nb.match.metadata.plan = 'y'",
        'billing.toml:3 plans.b.match.metadata.plan is "y", which is used by '
        "billing.toml:2 plans.a.match.metadata.plan[1]",
    ),
    (
        "[plans.a]\n[plans.b]\nmatch.metadata.plan_code = 'a'",
        'billing.toml:3 plans.b.match.metadata.plan_code is "a", which is used by billing.toml:1 plans.a',
    ),
    ("[plans.pro]\nmatch = ['prod_1']", "billing.toml:2 plans.pro.match is an array, which cannot be used"),
    (
        "[plans.pro]\nmatch.products = 'price_1'",
        'billing.toml:2 plans.pro.match.products is "price_1", which cannot be used: '
        "it is the id of a price, not of a product",
    ),
    ("[plans.pro]\nmatch.metadata = 'pro'", 'billing.toml:2 plans.pro.match.metadata is "pro", which cannot be used'),
    ("[plans.pro]\nmatch.metadata.plan = 1", "billing.toml:2 plans.pro.match.metadata.plan is 1, which cannot be used"),
    ("[plans.pro]\nfeatures = ['exports']", "billing.toml:2 plans.pro.features is an array, which cannot be used"),
    ("[plans.pro.features]\n'a b' = 1", 'billing.toml:2 plans.pro.features."a b" is "a b", which cannot be used'),
    ("[plans.pro.features]\nprojects = -1", "billing.toml:2 plans.pro.features.projects is -1, which cannot be used"),
    (
        "[plans.pro.features]\napi = { included = 1 }",
        "billing.toml:2 plans.pro.features.api has none of metered, max and enabled",
    ),
    (
        "[plans.pro.features]\napi = { max = 1, enabled = true }",
        "billing.toml:2 plans.pro.features.api.enabled is set beside max",
    ),
    (
        "[plans.pro.features]\napi = { max = 1, reset = 'day' }",
        "billing.toml:2 plans.pro.features.api.reset is set, but the feature is not metered",
    ),
    (
        "[plans.pro.features]\napi = { enabled = true, per_seat = true }",
        "billing.toml:2 plans.pro.features.api.per_seat is set, but the feature is a switch",
    ),
    (
        "[plans.pro.features]\napi = { metered = true, limit = 'hard' }",
        "billing.toml:2 plans.pro.features.api.included is missing",
    ),
    (
        "[plans.pro.features]\napi = { enabled = true, read_only = 'yes' }",
        'billing.toml:2 plans.pro.features.api.read_only is "yes", which cannot be used',
    ),
    (
        "[plans.pro]\nfeatures.api.max = 5\nprices = [{ id = 'p', role = 'metered', feature = 'api' }]",
        'billing.toml:3 plans.pro.prices[0].feature is "api", which billing.toml:2 plans.pro.features.api lists as '
        "a table",
    ),
    ("[plans.pro.features]\napi = { metered = false }", "billing.toml:2 plans.pro.features.api.metered is false"),
    (
        "[plans.pro.features]\napi = { metered = true, limit = 'none' }",
        'billing.toml:2 plans.pro.features.api.limit is "none", which cannot be used',
    ),
    (
        "[plans.pro]\nfeatures.api = 50\nprices = [{ id = 'p', role = 'metered', feature = 'api' }]",
        'billing.toml:3 plans.pro.prices[0].feature is "api", which billing.toml:2 plans.pro.features.api lists as 50',
    ),
]

FAULTY = """\
# faults of every kind
[tenants]
link = "both"
id_pattern = "[a-z"
id_patern = "[a-z]+"

[access]
trialing = "ful"
active = true
past_due = { state = "grace", days = -1, length = 3 }
trial_overdue_after = "1 day"
paused = { state = "full", then = "blocked" }
unpaid = [
  "read_only",
]
by_mail = { past_do = "full", unpaid = "grade" }
never_paid_trial = { days = 3, then = "grace" }
paused_collection = { void = "grace" }
unmapped_price = "by status"

[acces]
active = "full"
"""


class TestFaults:
    def test_every_fault_is_reported_at_once_with_its_line_and_key(self, tmp_path: Path) -> None:
        """Together with those of the environment: one start shows every mistake."""
        assert places(tmp_path, FAULTY, BILLING_PORT="eighty") == [
            'billing.toml:3 tenants.link is "both", which cannot be used',
            'billing.toml:4 tenants.id_pattern is "[a-z", which cannot be used: '
            "unterminated character set at position 0",
            "billing.toml:5 tenants.id_patern is not a known key",
            'billing.toml:8 access.trialing is "ful", which cannot be used',
            "billing.toml:9 access.active is true, which cannot be used",
            "billing.toml:10 access.past_due.length is not a known key",
            "billing.toml:10 access.past_due.days is -1, which cannot be used",
            'billing.toml:11 access.trial_overdue_after is "1 day", which cannot be used',
            'billing.toml:12 access.paused.then is set beside state = "full"',
            "billing.toml:13 access.unpaid is an array, which cannot be used",
            "billing.toml:16 access.by_mail.past_do is not a known key",
            'billing.toml:16 access.by_mail.unpaid is "grade", which cannot be used',
            'billing.toml:17 access.never_paid_trial.then is "grace", which cannot be used',
            'billing.toml:18 access.paused_collection.void is "grace", which cannot be used',
            'billing.toml:19 access.unmapped_price is "by status", which cannot be used',
            "billing.toml:21 acces is not a known key",
            "BILLING_PORT is 'eighty', which cannot be used",
        ]

    @pytest.mark.parametrize(("text", "fault"), PLAN_FAULTS)
    def test_a_fault_of_a_plan_has_its_place(self, tmp_path: Path, text: str, fault: str) -> None:
        """Each of these would make the plan of a subscription arbitrary, or a price that cannot be created."""
        assert places(tmp_path, text) == [fault]

    def test_faults_of_several_plans_are_reported_together(self, tmp_path: Path) -> None:
        """A plan with a fault still claims its prices."""
        text = '[plans.a]\nname = 1\nprices = [{ id = "price_1" }]\n[plans.b]\nmatch = { prices = ["price_1"] }\n'
        assert places(tmp_path, text) == [
            "billing.toml:2 plans.a.name is 1, which cannot be used",
            'billing.toml:5 plans.b.match.prices[0] is "price_1", which is used by billing.toml:3 plans.a.prices[0].id',
        ]

    def test_a_fault_says_what_is_accepted(self, tmp_path: Path) -> None:
        """The example can be copied."""
        assert faults(tmp_path, "[access]\nunpaid = 3\nunpayd = 4\n") == [
            "billing.toml:2 access.unpaid is 3, which cannot be used. "
            "It takes one of full, grace, read_only, blocked, or a table of state, days, then, "
            'for example unpaid = "full".',
            "billing.toml:3 access.unpayd is not a known key. Did you mean unpaid? "
            f"The keys here are {', '.join(key.name for key in ACCESS.keys)}.",
        ]

    @pytest.mark.parametrize(
        "text",
        [
            f'[tenants]\nlink = "{SECRET}"\n',
            f'[tenants]\nlink = "key: {SECRET}"\n',
            f'{SECRET} = "a"\n',
            f'[access]\n"{SECRET}" = "a"\n',
            f'[access]\nunpaid = {{ {SECRET} = "{SECRET}" }}\n',
            f'[tenants]\nid_pattern = "[{SECRET}"\n',
            f'[tenants]\nlink = "{SECRET}\n',
            f"[tenants]\nlink = {SECRET}\n",
            f"[{SECRET}]\n[{SECRET}]\n",
        ],
    )
    def test_a_secret_that_was_put_into_the_file_is_masked(self, tmp_path: Path, text: str) -> None:
        """The error goes to logs."""
        shown = "".join(faults(tmp_path, text))
        assert SECRET[8:-4] not in shown

    @pytest.mark.parametrize("value", ["postgresql://user:hunter22@host/billing", "see redis://:hunter22@host"])
    def test_a_password_in_a_url_is_masked(self, tmp_path: Path, value: str) -> None:
        """Addresses belong to the environment, but the error must not repeat this one."""
        shown = "".join(faults(tmp_path, f'[tenants]\nlink = "{value}"\n'))
        assert "hunter22" not in shown
        assert "://…" in shown


_KEYS = sorted({key.name for table in TABLES.values() for key in table.keys})
_WORDS = st.sampled_from(["full", "grace", "price_1", "prod_1", "pro", "usd", "metered", "month", "1d", "", " "])
_ANYTHING = st.recursive(
    _WORDS | st.integers(-1, 99) | st.booleans() | st.floats(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=5),
    max_leaves=20,
)
_FILES = st.dictionaries(
    st.sampled_from(["plans", "access", "tenants", "other"]),
    st.dictionaries(st.sampled_from([*_KEYS, "pro"]), _ANYTHING, max_size=6) | _ANYTHING,
    max_size=4,
)


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {inline(each)}' for key, each in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    return json.dumps(value)


class TestAnyFile:
    @given(content=_FILES)
    def test_a_file_is_read_or_refused_with_the_lines_of_its_faults(
        self, tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
    ) -> None:
        """No value of any kind in any place ends in a traceback."""
        text = "".join(f"{name} = {inline(value)}\n" for name, value in content.items())
        lines = {name: f"billing.toml:{number} {name}" for number, name in enumerate(content, start=1)}
        folder = tmp_path_factory.getbasetemp()
        try:
            load(folder, text)
        except SettingsError as exc:
            for fault in exc.faults:
                place = fault.variable.replace(f"{folder}/", "")
                assert any(place == start or place.startswith((f"{start}.", f"{start}[")) for start in lines.values())


class TestBesideTheEnvironment:
    RULES = '[access]\npast_due = { state = "grace", days = 5 }\ntrial_overdue_after = "2h"\n'

    PLANS = """\
[plans.pro]
match = { prices = ["price_2"] }
prices = [
  { id = "price_1" },
  { id = "price_3", role = "seat" },
  { id = "price_4", role = "metered", feature = "api" },
]

[plans.starter]
prices = [{ id = "price_5" }]
"""

    def test_a_variable_may_repeat_the_file(self, tmp_path: Path) -> None:
        """In its own unit."""
        environ = {"BILLING_PAST_DUE_GRACE_DAYS": "5", "BILLING_TRIAL_OVERDUE_HOURS": "2.0"}
        settings = load(tmp_path, self.RULES, **environ)
        assert settings == load(tmp_path, self.RULES)
        assert (settings.access.past_due_grace, settings.access.trial_overdue_after) == (
            timedelta(days=5),
            timedelta(hours=2),
        )

    def test_a_variable_sets_what_the_file_leaves_out(self, tmp_path: Path) -> None:
        """The file need not be complete."""
        settings = load(tmp_path, '[access]\nunpaid = "blocked"\n', BILLING_PAST_DUE_GRACE_DAYS="3")
        assert settings.access.past_due_grace == timedelta(days=3)
        assert settings.access.states["unpaid"] is AccessState.BLOCKED

    def test_a_contradiction_names_both_places(self, tmp_path: Path) -> None:
        """Neither silently wins."""
        environ = {"BILLING_PAST_DUE_GRACE_DAYS": "7", "BILLING_TRIAL_OVERDUE_HOURS": "24"}
        assert faults(tmp_path, self.RULES, **environ) == [
            "BILLING_PAST_DUE_GRACE_DAYS is '7', but billing.toml:2 access.past_due.days is 5. "
            "Remove the variable, or make it repeat the file.",
            "BILLING_TRIAL_OVERDUE_HOURS is '24', but billing.toml:3 access.trial_overdue_after is \"2h\". "
            "Remove the variable, or make it repeat the file.",
        ]

    @pytest.mark.parametrize("prices", ["pro=price_1", "pro=price_2,pro=price_1", '{"pro": {"seat": "price_3"}}'])
    def test_the_price_map_may_repeat_the_plans(self, tmp_path: Path, prices: str) -> None:
        """All of them, or a part."""
        settings = load(tmp_path, self.PLANS, STRIPE_PRODUCT_PRICE_MAP=prices)
        assert settings == load(tmp_path, self.PLANS)
        assert [plan.plan_code for plan in settings.catalog.plans] == ["pro", "starter"]

    @pytest.mark.parametrize(
        ("prices", "reason"),
        [
            ("pro=price_1,pro=price_9", "does not list price_9 as a base price of pro"),
            ("starter=price_1", "does not list price_1 as a base price of starter"),
            ("pro=price_3", "does not list price_3 as a base price of pro"),
            ('{"pro": {"metered": {"calls": "price_4"}}}', "does not list price_4 as a metered price of pro"),
        ],
    )
    def test_the_price_map_may_not_contradict_the_plans(self, tmp_path: Path, prices: str, reason: str) -> None:
        """Neither silently wins: the price, its plan, its role and its feature must be the same."""
        (fault,) = places(tmp_path, self.PLANS, STRIPE_PRODUCT_PRICE_MAP=prices)
        assert fault == f"STRIPE_PRODUCT_PRICE_MAP is {prices!r}, but billing.toml:1 plans {reason}"

    def test_the_price_map_is_the_catalog_of_a_file_without_plans(self, tmp_path: Path) -> None:
        """The file need not be complete."""
        settings = load(tmp_path, "[access]\n", STRIPE_PRODUCT_PRICE_MAP="pro=price_1")
        assert settings.catalog.plans == (Plan.of_prices("pro", base=["price_1"]),)


class TestValues:
    def test_tenants_are_named_as_the_file_says(self, tmp_path: Path) -> None:
        """The container passes it to the service."""
        settings = load(tmp_path, '[tenants]\nlink = "subscription"\nid_pattern = "[a-z]{3}"\n')
        assert settings.tenants == TenantRules(link="subscription", id_pattern="[a-z]{3}")
        assert Container(settings=settings).tenant_rules() == settings.tenants

    def test_a_status_that_is_not_named_keeps_its_access(self, tmp_path: Path) -> None:
        """Each key changes one entry."""
        access = load(tmp_path, '[access]\nincomplete = "read_only"\nunpaid = "blocked"\n').access
        changed = {"incomplete": AccessState.READ_ONLY, "unpaid": AccessState.BLOCKED}
        assert access.states == {**AccessPolicy().states, **changed}

    def test_every_rule_of_the_policy_can_be_set(self, tmp_path: Path) -> None:
        """A state, or grace with its length and what follows it."""
        access = load(
            tmp_path,
            """\
[access]
past_due = { state = "grace", days = 5, then = "blocked" }
unpaid = { days = 3 }
paused = { state = "full" }
by_mail = { past_due = { days = 30 }, unpaid = "full" }
never_paid_trial = "blocked"
paused_collection = { void = "full", mark_uncollectible = "read_only" }
unmapped_price = "read_only"
trial_overdue_after = "2d"
confirmation_overdue_after = "90m"
""",
        ).access
        full, read_only, blocked = AccessState.FULL, AccessState.READ_ONLY, AccessState.BLOCKED
        assert attrs.asdict(access, recurse=False) == attrs.asdict(
            AccessPolicy(
                past_due_grace=timedelta(days=5),
                states={
                    **AccessPolicy().states,
                    "past_due": Grace(then=blocked),
                    "unpaid": Grace(lasts=timedelta(days=3)),
                    "paused": full,
                },
                by_mail={"past_due": Grace(lasts=timedelta(days=30)), "unpaid": full},
                never_paid_trial=blocked,
                paused_collection={"void": full, "mark_uncollectible": read_only},
                unmapped_price=read_only,
                trial_overdue_after=timedelta(days=2),
                confirmation_overdue_after=timedelta(minutes=90),
            ),
            recurse=False,
        )

    def test_the_access_of_an_unmapped_price_may_be_that_of_its_status(self, tmp_path: Path) -> None:
        """As it is without the key."""
        assert load(tmp_path, '[access]\nunmapped_price = "by_status"\n') == Settings()

    def test_every_key_of_a_policy_has_a_field(self) -> None:
        """And every field a key; the plans say which of them are add-ons."""
        set_by_keys = {(key.into or key.name).partition(".")[0] for key in ACCESS.keys}
        assert set_by_keys | {"past_due_grace", "addon_plans"} == {field.name for field in attrs.fields(AccessPolicy)}

    def test_a_plan_has_prices_conditions_and_features(self) -> None:
        """As the example shows them."""
        pro, support = Settings.load({"BILLING_CONFIG": str(EXAMPLE)}, Path("/nonexistent/.env.local")).catalog.plans
        assert support == Plan(
            plan_code="support",
            grants_access=False,
            prices=(PlanPrice(lookup_key="support_monthly"),),
            features=(PlanFeature(key="priority_support", read_only="refuse"),),
        )
        assert pro == Plan(
            plan_code="pro",
            name="Pro",
            group="main",
            trial_days=7,
            seats=SeatBounds(minimum=1, maximum=50),
            match=PlanMatch(
                prices=(PriceId("price_pro_2024"),),
                products=("prod_pro",),
                lookup_keys=("pro_*",),
                metadata=(("plan", "pro"),),
            ),
            prices=(
                PlanPrice(lookup_key="pro_monthly", interval="month", amount=4900, currency="usd"),
                PlanPrice(
                    price_id=PriceId("price_pro_quarterly"),
                    interval="month",
                    interval_count=3,
                    amount=12900,
                    currency="usd",
                ),
                PlanPrice(
                    role="metered",
                    feature="api_calls",
                    lookup_key="pro_api_calls",
                    interval="month",
                    unit_amount_decimal="0.1",
                    currency="usd",
                ),
            ),
            features=(
                PlanFeature(key="exports"),
                PlanFeature(key="projects", limit=50),
                PlanFeature(key="storage", limit=10, per_seat=True, enforcement="soft", read_only="allow"),
                PlanFeature(key="api_calls", metered=True, included=10_000, enforcement="soft", reset="period"),
            ),
        )

    def test_a_single_text_stands_for_an_array(self, tmp_path: Path) -> None:
        """Metadata may have several values of one key."""
        plans = load(
            tmp_path, "[plans.pro.match]\nproducts = 'prod_1'\nmetadata = { b = ['y', 'x'], a = 'z' }\n"
        ).catalog
        assert plans.plans[0].match == PlanMatch(products=("prod_1",), metadata=(("a", "z"), ("b", "x"), ("b", "y")))

    @given(text=st.text(max_size=30))
    def test_a_path_in_a_fault_is_a_key_as_it_can_be_written(self, text: str) -> None:
        """Unusual keys are quoted, so that the place can be searched for."""
        bare = re.fullmatch("[A-Za-z0-9_-]+", text)
        assert path_text(("a", text, 1)).startswith(f"a.{text}[1]" if bare else 'a."')


class TestExample:
    def test_it_is_valid_and_shows_the_default_of_each_status(self) -> None:
        """A copy of it is a working start."""
        settings = Settings.load({"BILLING_CONFIG": str(EXAMPLE)}, Path("/nonexistent/.env.local"))
        assert settings.tenants == TenantRules(id_pattern="[a-z0-9-]{3,64}")
        states = {status: settings.access.states[status] for status in AccessPolicy().states}
        assert states == {**AccessPolicy().states, "past_due": Grace()}

    @pytest.mark.parametrize("header", TABLES)
    def test_it_shows_every_key_of_every_table(self, header: str) -> None:
        """A new key needs a line there."""
        text = EXAMPLE.read_text(encoding="utf-8")
        assert [key.name for key in TABLES[header].keys if not re.search(rf"\b{key.name}( =|[.\]])", text)] == []


class TestConfigCommand:
    def test_it_shows_what_the_file_sets(self, tmp_path: Path) -> None:
        """A reviewer sees that the right file was read."""
        file = tmp_path / "rules.toml"
        file.write_text('[access]\nunpaid = "full"\n[tenants]\n', encoding="utf-8")
        done = CliRunner().invoke(cli.cli, ["config", "check", str(file)])
        assert (done.exit_code, done.stdout) == (0, f"The settings are valid.\n{file}: [tenants] ; [access] unpaid\n")
        listed = CliRunner().invoke(cli.cli, ["config", "check", str(file), "--json"])
        assert f'"file": "{file}", "keys": {{"tenants": [], "access": ["unpaid"]}}' in listed.stdout

    def test_without_a_file_it_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment alone is checked."""
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(cli.cli, ["config", "check"])
        assert "billing.toml: there is none: the environment and the defaults apply\n" in done.stdout

    def test_faults_end_it_with_the_status_of_a_wrong_configuration(self, tmp_path: Path) -> None:
        """All of them are shown, as at a start."""
        file = tmp_path / "rules.toml"
        file.write_text(FAULTY, encoding="utf-8")
        done = CliRunner().invoke(cli.cli, ["config", "check", str(file)])
        assert isinstance(done.exception, SettingsError)
        assert (done.exception.exit_code, len(done.exception.faults)) == (2, 16)


class TestScope:
    """The table [scope]."""

    def test_products_are_left_out_by_any_condition(self, tmp_path: Path) -> None:
        """A single value stands for a list of one."""
        text = """
            [plans.news]
            prices = [{ id = "price_news" }]
            [scope]
            ignore = { products = ["prod_a", "prod_b"], prices = "price_1", plans = "news" }
            only = { metadata = { app = ["ours", "shared"] } }
        """
        assert load(tmp_path, text).scope == ProductScope(
            ignore=ScopeRule(products=("prod_a", "prod_b"), prices=(PriceId("price_1"),), plans=("news",)),
            only=ScopeRule(metadata=(("app", "ours"), ("app", "shared"))),
        )

    def test_every_fault_is_reported(self, tmp_path: Path) -> None:
        """Ids of the wrong kind, and plans that do not exist, which would leave out nothing or everything."""
        text = '[scope]\nignore = { products = ["price_1"] }\n[scope.only]\nplans = ["news"]\nfoo = 1'
        found = places(tmp_path, text)
        wrong = "which cannot be used: it is the id of a price, not of a product"
        assert f'billing.toml:2 scope.ignore.products[0] is "price_1", {wrong}' in found
        assert "billing.toml:5 scope.only.foo is not a known key" in found
        assert "billing.toml:4 scope.only.plans names 'news', which is no plan" in found
