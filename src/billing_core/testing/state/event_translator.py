"""The contract of EventTranslator. It needs hypothesis."""

import json

import attrs
from hypothesis import given
from hypothesis import strategies as st

from billing_core.events import ProviderEvent
from billing_core.state.ports import EventTranslator
from billing_core.testing.examples import share_fixtures
from billing_core.testing.suite import Suite

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


class EventTranslatorContract(Suite):
    """Pure, and total over any body.

    A binding provides `translator`, and an `update`: an event that shows its object before and after.
    """

    def test_a_translation_names_the_customer_and_shows_the_objects(
        self, translator: EventTranslator, update: ProviderEvent
    ) -> None:
        """An event that is understood is not ignored."""
        said = translator.translate(update)
        assert said.ignored is None
        assert said.customer_id is not None
        assert said.snapshots != ()

    def test_the_same_event_gives_the_same_translation(
        self, translator: EventTranslator, update: ProviderEvent
    ) -> None:
        """Equal and hashable: ties are decided over sets of snapshots."""
        assert translator.translate(update) == translator.translate(update)
        assert hash(translator.translate(update).snapshots) == hash(translator.translate(update).snapshots)

    def test_an_update_shows_the_same_object_before_it(
        self, translator: EventTranslator, update: ProviderEvent
    ) -> None:
        """Another content, the same identity."""
        now, before = translator.translate(update), translator.translate_previous(update)
        assert before is not None
        assert before.snapshots != now.snapshots
        assert {seen.object_id for seen in before.snapshots} == {seen.object_id for seen in now.snapshots}

    @share_fixtures
    @given(type=st.text(max_size=20))
    def test_an_unknown_type_is_ignored_with_a_reason(
        self, translator: EventTranslator, update: ProviderEvent, type: str
    ) -> None:
        """Providers invent types; none of them is an error."""
        unknown = attrs.evolve(update, type=f"invented.{type}")
        said = translator.translate(unknown)
        assert said.ignored is not None
        assert (said.snapshots, said.notice) == ((), None)
        assert translator.translate_previous(unknown) is None

    @share_fixtures
    @given(body=st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
    def test_no_body_makes_it_raise(self, translator: EventTranslator, update: ProviderEvent, body: bytes) -> None:
        """A stored body may be anything; one that cannot be read is ignored with a reason."""
        broken = attrs.evolve(update, body=body)
        assert translator.translate(broken).ignored is not None
        assert translator.translate_previous(broken) is None
