"""Every command of the runbook prints what the page shows, in the state that the page says."""

from __future__ import annotations

import pytest
from tests.integration.runbook_page import PAGE, Engineer, Scene, matches, scenes
from tests.integration.runbook_states import STATES, staged

pytestmark = [pytest.mark.postgres, pytest.mark.redis]

SCENES = scenes(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"{scene.heading}: {scene.state}")
async def test_commands_print_what_the_page_shows(scene: Scene, database_url: str, redis_url: str) -> None:
    """One after another, as an engineer would type them."""
    async with staged(database_url, redis_url) as stage, STATES[scene.state](stage) as environment:
        engineer = Engineer(environment, scene.typed)
        for shown in scene.shown:
            printed = await engineer.types(shown.command)
            assert matches(shown.output, printed), f"$ {shown.command}\n{printed}"


def test_every_state_is_shown() -> None:
    """A state without commands is left over from a section that is gone."""
    assert {scene.state for scene in SCENES} == STATES.keys()


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("evt_1  …  dead", "evt_1  3 s ago  dead\n", True),
        ("evt_1  …  dead", "evt_1  3 s ago  due\n", False),
        ("…\nlast", "first\nsecond\nlast\n", True),
        ("first", "first\nsecond\n", False),
        ("", "anything\n", False),
        ("", "", True),
    ],
)
def test_dots_stand_for_what_differs(shown: str, printed: str, same: bool) -> None:
    """Everything else is compared."""
    assert matches(shown, printed) is same
