"""The troubleshooting matrix: every row is provoked, and the message about a fault names its row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path

import pytest

from billing_app.settings import Settings, SettingsError
from billing_app.troubleshooting import (
    MATRIX,
    TABLES,
    CatalogTrouble,
    KeyTrouble,
    SettingTrouble,
    Trouble,
    WebhookTrouble,
)
from billing_app.troubleshooting.reference import render

REPOSITORY = Path(__file__).parents[2]
ROWS = [row for table in TABLES.values() for row in table]
COMPLETE = {
    "ENABLE_BILLING": "true",
    "STRIPE_SECRET_KEY": "sk_test_51AbcdefghijklmnopqrstuvWXYZ",
    "STRIPE_WEBHOOK_SECRET": "whsec_AbcdefghijklmnopqrstuvWXYZ",
    "BILLING_JWT_SECRET": "0123456789abcdef0123456789abcdef",
}


class TestTheMatrix:
    def test_the_page_in_the_repository_is_up_to_date(self) -> None:
        """When this fails, run `python -m billing_app.troubleshooting.reference`."""
        assert (REPOSITORY / MATRIX).read_text(encoding="utf-8") == render()

    def test_every_row_has_an_anchor_of_its_own(self) -> None:
        """Over all tables, because a message names it without the table."""
        assert [anchor for anchor, count in Counter(row.anchor for row in ROWS).items() if count > 1] == []
        for row in ROWS:
            assert f'<a id="{row.anchor}"></a>' in render()

    def test_no_row_is_hidden_behind_an_equal_one(self) -> None:
        """A member with the texts of another one would be its alias, and no row of the page."""
        for table in TABLES.values():
            assert list(table.__members__) == [row.name for row in table]

    def test_every_row_says_what_is_seen_why_and_what_to_do(self) -> None:
        """In sentences, but for the symptom."""
        for row in ROWS:
            assert row.symptom
            assert row.cause.endswith(".")
            assert row.fix.endswith(".")

    @pytest.mark.parametrize("row", ROWS, ids=lambda row: row.anchor)
    def test_every_row_is_provoked_in_a_test(self, row: Trouble) -> None:
        """A row that no test provokes may be named by no message."""
        assert f"{type(row).__name__}.{row.name}" in dotted_names()


@cache
def dotted_names() -> Collection[str]:
    """Return every name with one dot, as members of an enumeration have it, in the files of tests."""
    files = (REPOSITORY / "tests").rglob("test_*.py")
    return {name for path in files for name in re.findall(r"\b[A-Z]\w+\.\w+", path.read_text("utf-8"))}


def loaded(**environ: str) -> Callable[[Path], Settings]:
    """Load complete settings with these changes, where None would be an empty one."""
    return lambda folder: Settings.load({**COMPLETE, **environ}, folder / ".env.local")


def with_file(text: str, name: str = "billing.toml", **environ: str) -> Callable[[Path], Settings]:
    """Load complete settings beside a file."""

    def load(folder: Path) -> Settings:
        (folder / name).write_text(text, encoding="utf-8")
        return loaded(**environ)(folder)

    return load


PROVOKED_BY_SETTINGS: list[tuple[Trouble, Callable[[Path], Settings]]] = [
    (KeyTrouble.KEY_IS_MISSING, loaded(STRIPE_SECRET_KEY="")),
    (KeyTrouble.KEY_IS_PUBLISHABLE, loaded(STRIPE_SECRET_KEY="pk_test_51AbcdefghijklmnopqrstuvWXYZ")),
    (KeyTrouble.KEY_IS_PUBLISHABLE, loaded(STRIPE_SECRET_KEY="pk_live_51AbcdefghijklmnopqrstuvWXYZ")),
    (KeyTrouble.KEY_IS_A_WEBHOOK_SECRET, loaded(STRIPE_SECRET_KEY=COMPLETE["STRIPE_WEBHOOK_SECRET"])),
    (KeyTrouble.KEY_IS_MALFORMED, loaded(STRIPE_SECRET_KEY="sk_test_…")),
    (KeyTrouble.KEY_IS_MALFORMED, loaded(STRIPE_SECRET_KEY='"sk_test_51"')),
    (KeyTrouble.ORGANIZATION_KEY_LACKS_ACCOUNT, loaded(STRIPE_SECRET_KEY="sk_org_live_1")),
    (WebhookTrouble.WEBHOOK_SECRET_IS_MISSING, loaded(STRIPE_WEBHOOK_SECRET=" ")),
    (WebhookTrouble.WEBHOOK_SECRET_IS_BLANK, loaded(STRIPE_WEBHOOK_SECRET="whsec_one,,whsec_two")),
    (WebhookTrouble.WEBHOOK_SECRET_IS_BLANK, loaded(STRIPE_WEBHOOK_SECRET="whsec_one,")),
    (WebhookTrouble.WEBHOOK_SECRET_IS_AN_API_KEY, loaded(STRIPE_WEBHOOK_SECRET=COMPLETE["STRIPE_SECRET_KEY"])),
    (WebhookTrouble.WEBHOOK_SECRET_IS_MALFORMED, loaded(STRIPE_WEBHOOK_SECRET="we_1Nxyz")),
    (WebhookTrouble.WEBHOOK_SECRET_IS_MALFORMED, loaded(STRIPE_WEBHOOK_SECRET="whsec_…")),
    (CatalogTrouble.TOML_IS_MISSING, loaded(BILLING_CONFIG="/nonexistent/billing.toml")),
    (CatalogTrouble.TOML_IS_UNREADABLE, with_file("[plans")),
    (CatalogTrouble.TOML_KEY_IS_UNKNOWN, with_file("[plans.pro]\npricess = []")),
    (CatalogTrouble.TOML_KEY_IS_MISSING, with_file("[plans.pro]\nprices = [{ role = 'seat' }]")),
    (CatalogTrouble.TOML_VALUE_IS_INVALID, with_file("[plans.pro]\ntrial_days = 'seven'")),
    (
        CatalogTrouble.PRICE_IS_LISTED_TWICE,
        with_file("[plans.a]\nprices = [{ id = 'price_1' }]\n[plans.b]\nprices = [{ id = 'price_1' }]"),
    ),
    (CatalogTrouble.PRICE_IS_LISTED_TWICE, loaded(STRIPE_PRODUCT_PRICE_MAP="starter=price_1,pro=price_1")),
    (CatalogTrouble.PRICE_ID_IS_OF_ANOTHER_KIND, with_file("[plans.pro]\nprices = [{ id = 'prod_1' }]")),
    (CatalogTrouble.PRICE_ID_IS_OF_ANOTHER_KIND, with_file("[plans.pro]\nmatch.products = 'price_1'")),
    (CatalogTrouble.PRICE_ID_IS_OF_ANOTHER_KIND, loaded(STRIPE_PRODUCT_PRICE_MAP="pro=sub_1NkAbcdEfghIjklMnop")),
    (CatalogTrouble.PRICE_ID_IS_OF_ANOTHER_KIND, loaded(STRIPE_PRODUCT_PRICE_MAP="pro=sk_test_51Abcdefghijklmn")),
    (CatalogTrouble.PLAN_CANNOT_BE_SOLD, loaded(STRIPE_PRODUCT_PRICE_MAP='{"starter": {}}')),
    (CatalogTrouble.PRICE_MAP_IS_INVALID, loaded(STRIPE_PRODUCT_PRICE_MAP="starter")),
    (
        CatalogTrouble.VARIABLE_CONTRADICTS_TOML,
        with_file("[plans.pro]\nprices = [{ id = 'price_1' }]", STRIPE_PRODUCT_PRICE_MAP="pro=price_2"),
    ),
    (CatalogTrouble.SCOPE_NAMES_NO_PLAN, with_file("[scope]\nignore = { plans = ['gold'] }")),
    (SettingTrouble.SETTING_IS_INVALID, loaded(BILLING_PORT="eighty")),
    (
        SettingTrouble.SETTINGS_CONTRADICT,
        loaded(BILLING_DISPATCH_BACKOFF_BASE_SECONDS="9", BILLING_DISPATCH_BACKOFF_CAP_SECONDS="3"),
    ),
    (SettingTrouble.ENV_FILE_IS_UNREADABLE, with_file("STRIPE_SECRET_KEY='unclosed\n", ".env.local")),
    (SettingTrouble.TOKEN_KEY_IS_MISSING, loaded(BILLING_JWT_SECRET="")),
    (SettingTrouble.TOKEN_KEY_IS_WEAK, loaded(BILLING_JWT_SECRET="short")),
    (SettingTrouble.OPERATOR_ROLE_OF_TENANTS, loaded(BILLING_JWT_OPERATOR_ROLES="support,admin")),
    (
        SettingTrouble.OPERATOR_ROLE_OF_TENANTS,
        loaded(BILLING_JWT_OPERATOR_ROLES="clerk", BILLING_JWT_WRITER_ROLES="clerk"),
    ),
]


@pytest.mark.parametrize(("row", "load"), PROVOKED_BY_SETTINGS, ids=[row.anchor for row, _ in PROVOKED_BY_SETTINGS])
def test_a_fault_of_the_settings_names_its_row(row: Trouble, load: Callable[[Path], Settings], tmp_path: Path) -> None:
    """It is the only fault there is, so nothing else can name the row."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path)
    assert [fault.trouble for fault in caught.value.faults] == [row]
    assert f"See {row}." in str(caught.value)
