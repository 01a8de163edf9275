"""The files that describe the settings, made from their declarations: `python -m billing_app.settings_reference`.

A test compares them with the files in the repository, so neither can drift.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from billing_app.settings import DOCUMENTATION, ENV_FILE, Setting, declared_settings

EXAMPLE_FILE = ".env.example"

_EXAMPLE_HEAD = f"""\
# Copy this file to {ENV_FILE} and fill in what you need: cp {EXAMPLE_FILE} {ENV_FILE} && chmod 600 {ENV_FILE}
# Every line is optional. What is commented out shows the default; the environment wins over the file.
# Made by `python -m billing_app.settings_reference` from billing_app/settings.py; change it there.
"""

_DOCUMENT_HEAD = f"""\
# Configuration

<!-- Made by `python -m billing_app.settings_reference` from billing_app/settings.py; change it there. -->

Settings are environment variables. A file `{ENV_FILE}` in the working directory is read first; the environment wins,
and a variable that is set but empty counts as not set. `{EXAMPLE_FILE}` is a template for the file. Values are taken
literally: nothing is expanded in them.

All settings are checked together at start. If anything is wrong, the process does not start and lists every fault with
the variable, what it expects and what to do. Secrets appear as their prefix and last four characters only.
A variable that looks like ours but is not a setting is reported as a warning, with the name that was probably meant.

`ENABLE_BILLING=true` demands `STRIPE_SECRET_KEY`, `STRIPE_WEBHOOK_SECRET` and `BILLING_JWT_SECRET`. Test or live mode
is read from the API key.

Without `DATABASE_URL` or `REDIS_URL` a local Postgres or Valkey is started in `BILLING_DATA_DIR`, from the wheels of
the extra `embedded` or from programs on the system. They listen on 127.0.0.1 with generated passwords, keep `fsync` on,
and are meant for development. `billing embedded start | stop | status | env` runs them on their own.
"""

_PRICE_MAP = """\
## The price map

`STRIPE_PRODUCT_PRICE_MAP` names the prices of each plan, in one of two forms:

- Pairs: `starter=price_1,pro=price_2,pro=price_3`. A plan that is named twice has two base prices.
- JSON: the value of a plan is a price id, a list of price ids, or an object with the parts `base`, `seat` and
  `metered`:

```json
{
  "starter": "price_1",
  "pro": {
    "base": ["price_2_monthly", "price_2_yearly"],
    "seat": ["price_2_seat"],
    "metered": {"api_calls": "price_2_api"}
  }
}
```

The quantity of a `seat` item is the seat count. `metered` maps feature keys to prices. A price may be used once only.
"""


def render_example() -> str:
    """`.env.example`: every setting with its default, commented out."""
    blocks = [_EXAMPLE_HEAD]
    for section, settings in _by_section():
        blocks.append(f"\n# --- {section} ---\n")
        blocks += [f"\n# {setting.help}\n# {setting.env}={_example_value(setting)}\n" for setting in settings]
    return "".join(blocks)


def render_document() -> str:
    """docs/billing/configuration.md: one table per section."""
    blocks = [_DOCUMENT_HEAD]
    for section, settings in _by_section():
        blocks.append(f"\n## {section}\n\n| Variable | Default | Takes | Meaning |\n|---|---|---|---|\n")
        blocks += [_row(setting) for setting in settings]
    return "".join((*blocks, "\n", _PRICE_MAP))


def write_files(repository: Path) -> None:
    (repository / EXAMPLE_FILE).write_text(render_example(), encoding="utf-8")
    (repository / DOCUMENTATION).write_text(render_document(), encoding="utf-8")


def _by_section() -> Iterable[tuple[str, Sequence[Setting]]]:
    for section, settings in groupby(declared_settings().values(), key=lambda setting: setting.section):
        yield section, tuple(settings)


def _example_value(setting: Setting) -> str:
    return setting.default_text or setting.example


def _row(setting: Setting) -> str:
    default = f"`{setting.default_text}`" if setting.default_text else "–"
    secret = " Secret." if setting.secret else ""
    cells = (f"`{setting.env}`", default, setting.parser.expects, setting.help + secret)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


if __name__ == "__main__":
    write_files(Path.cwd())
