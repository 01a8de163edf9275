"""Troubles with the plans, in billing.toml or in the price map."""

from billing_app.troubleshooting.trouble import Trouble


class CatalogTrouble(Trouble):
    """Rows about `billing.toml` and `STRIPE_PRODUCT_PRICE_MAP`."""

    TOML_IS_MISSING = (
        "`billing.toml does not exist`",
        "`BILLING_CONFIG` names a file that is not there, for example because it was not copied into the image.",
        "Create the file, or correct `BILLING_CONFIG`; a relative path starts at the working directory.",
    )
    TOML_IS_UNREADABLE = (
        "`billing.toml … cannot be read`, `is not UTF-8`, `is not valid TOML`",
        "The file has a syntax error on the line that is named, another encoding, or no read permission.",
        "Correct that line. `billing config check billing.toml` repeats the check without starting anything.",
    )
    TOML_KEY_IS_UNKNOWN = (
        "`billing.toml:12 plans.pro.pricess is not a known key`",
        "A key is misspelled or in the wrong table. It would have no effect.",
        "Use the key that the message suggests, or remove it.",
    )
    TOML_KEY_IS_MISSING = (
        "`billing.toml:12 … is missing`, `has neither an id nor a lookup key`",
        "A table lacks a key that it cannot do without.",
        "Add the key; the message shows an example.",
    )
    TOML_VALUE_IS_INVALID = (
        "`billing.toml:12 … is …, which cannot be used`",
        "A value is of another type, outside its range, or contradicts another key of the same table.",
        "Write it as the message shows; `docs/billing/configuration.md` lists every key.",
    )
    PRICE_IS_LISTED_TWICE = (
        "`billing.toml:12 … is used by billing.toml:8 …`, `price_1 is used more than once`",
        "Two plans claim one price, product or lookup key, so that the plan of a subscription would be arbitrary.",
        "Keep it in one plan.",
    )
    PRICE_ID_IS_OF_ANOTHER_KIND = (
        "`… is prod_1, which cannot be used: it is the id of a product, not of a price`",
        "A price is needed, and the id is one of a product, a customer or another object.",
        "Open the product in the Stripe Dashboard and copy the id of its price (`price_…`).",
    )
    PLAN_CANNOT_BE_SOLD = (
        "`plan 'starter' has no price`",
        "A plan lists no price and matches none: no subscription can ever be on it.",
        "Add a price with an `id` or a `lookup_key`, or remove the plan.",
    )
    PLAN_CANNOT_BE_STARTED = (
        "`plan pro cannot be sold with the price pro_monthly`",
        "The plan lists no price, or several that differ in neither interval nor currency, so that none can be chosen.",
        "Give each price an `interval` and a `currency`. A plan that only old subscriptions have can stay as it is.",
    )
    PRICE_MAP_IS_INVALID = (
        "`STRIPE_PRODUCT_PRICE_MAP is …, which cannot be used`",
        "It is neither a list of pairs `plan=price` nor a JSON object of plans.",
        "Write `starter=price_1,pro=price_2`, or name the plans in `billing.toml` and remove the variable.",
    )
    VARIABLE_CONTRADICTS_TOML = (
        "`STRIPE_PRODUCT_PRICE_MAP is …, but billing.toml:12 …`",
        "`billing.toml` decides, and a variable may only repeat it.",
        "Remove the variable.",
    )
    SCOPE_NAMES_NO_PLAN = (
        "`billing.toml:30 scope.…plans names 'gold', which is no plan`",
        "`[scope]` names a plan that is not configured: it would leave out nothing, or everything.",
        "Use the code of a plan.",
    )
    PRICE_DOES_NOT_EXIST = (
        "`the price pro_monthly of plan pro does not exist at Stripe`",
        "The id or lookup key belongs to another account or mode, or the price was never created.",
        "Run `billing stripe setup`, or correct the id. Ids differ between test and live mode; lookup keys need not.",
    )
    PRICE_IS_ARCHIVED = (
        "`the price pro_monthly of plan pro is archived`",
        "It was archived in the Dashboard. Its subscribers keep paying, and no one can start with it.",
        "Activate it, or replace it in the plan.",
    )
    PRICE_DIFFERS = (
        "`the price pro_monthly of plan pro is not as in the catalog: its amount is 5900 and not 4900`",
        "The catalog was changed without set-up, or the price was replaced in the Dashboard.",
        "Run `billing stripe setup`: a changed amount makes a new price and moves the lookup key.",
    )
