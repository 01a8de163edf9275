"""billing-stream.d.ts declares exactly what billing-stream.js exports."""

import re
from importlib.resources import files

WEB = files("billing_app").joinpath("web")
SOURCE = WEB.joinpath("billing-stream.js").read_text(encoding="utf-8")
TYPES = WEB.joinpath("billing-stream.d.ts").read_text(encoding="utf-8")
EXPORT = r"^export (?:declare )?(?:async )?(class|function) (\w+)"


def members(text: str, name: str) -> set[str]:
    """Return the public members of a class: those indented by two spaces."""
    (body,) = re.findall(rf"^export (?:declare )?class {name}\b.*?^\}}", text, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^  (?:get |async )?(\w+)(?:\(.*\)(?: \{|;|:)|: )", body, re.MULTILINE))


def test_the_same_things_are_exported() -> None:
    """Classes and functions are compared by name."""
    assert set(re.findall(EXPORT, TYPES, re.MULTILINE)) == set(re.findall(EXPORT, SOURCE, re.MULTILINE))


def test_the_classes_have_the_same_members() -> None:
    """Methods and getters of the stream and the parser; the fields of an error are set in its constructor."""
    for name in ("BillingStream", "FrameParser"):
        assert members(TYPES, name) - {"constructor"} == members(SOURCE, name) - {"constructor"}
    fields = set(re.findall(r"this\.(status|code|\w+) = ", SOURCE[: SOURCE.index("export class BillingStream")]))
    assert members(TYPES, "RefusedError") - {"constructor"} == fields - {"name"}


def test_the_options_are_the_same() -> None:
    """Each option of the constructor has a default if the types declare it optional."""
    (taken,) = re.findall(r"constructor\(\{(.*?)\}\) \{", SOURCE, re.DOTALL)
    (declared,) = re.findall(r"interface BillingStreamOptions<.*?> \{(.*?)^\}", TYPES, re.MULTILINE | re.DOTALL)
    optional = {name: default != "" for name, default in re.findall(r"^    (\w+)( =)?", taken, re.MULTILINE)}
    assert {name: mark == "?" for name, mark in re.findall(r"^  (\w+)(\??):", declared, re.MULTILINE)} == optional


def test_every_status_is_declared() -> None:
    """A frontend that handles the declared statuses handles all."""
    (union,) = re.findall(r"export type StreamStatus =(.*?);", TYPES, re.DOTALL)
    notified = set(re.findall(r'#notify\(\s*"([\w-]+)"', SOURCE)) | {"offline", "reconnecting", "stopped"}
    assert set(re.findall(r'"([\w-]+)"', union)) == notified
