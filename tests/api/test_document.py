"""The OpenAPI document is valid, complete, and up to date in the repository."""

import json
import urllib.request
from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.unit.http.conftest import World

from billing_app.http import openapi
from billing_app.http.app import create_app

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = openapi.document()


def test_the_file_in_the_repository_is_up_to_date() -> None:
    """If this fails, run `make docs` and check that the change is compatible."""
    assert (REPOSITORY / openapi.FILE).read_text(encoding="utf-8") == openapi.rendered()


def test_it_is_valid_openapi() -> None:
    """By the specification's own schema, with all references resolved."""
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_it_describes_every_route_and_no_other(world: World) -> None:
    """Of a server on which everything is enabled; the demo's sign-in is left out."""
    described = {(method.upper(), path) for path, methods in _paths_by_name().items() for method in methods}
    router = create_app(world.container.services()).router
    served = {(route.method, route.resource.canonical) for route in router.routes() if route.resource is not None}
    assert {each for each in served if each[0] != "HEAD"} == described


def test_it_is_served(world: World) -> None:
    """Without a token: it contains no tenant's data."""
    with urllib.request.urlopen(world.url + openapi.PATH) as answer:
        assert answer.headers.get_content_type() == "application/json"
        assert json.load(answer) == DOCUMENT


def _paths_by_name() -> dict[str, dict[str, object]]:
    """Return the described paths, with the path of the assets expanded to one per file."""
    paths = dict(DOCUMENT["paths"])
    for folder in ("/assets", "/assets/activity", "/assets/ops"):
        assets = paths.pop(f"{folder}/{{name}}")
        names = assets["get"]["parameters"][0]["schema"]["enum"]
        paths |= {f"{folder}/{name}": assets for name in names}
    return paths
