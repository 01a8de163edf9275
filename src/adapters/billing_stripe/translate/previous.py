"""What an object was before an update, put together from what it is and what the update says it overwrote."""

from collections.abc import Mapping


def overlay(current: object, previous: object) -> object:
    """`current` with the old values of `previous` in place.

    Objects are merged, for `previous_attributes` names only what changed in them; everything else is replaced, null
    by null. Lists are given whole, yet their members not always: each is completed from the one it was or became.
    """
    if isinstance(current, dict) and isinstance(previous, dict):
        return {**current, **{key: overlay(current.get(key), old) for key, old in previous.items()}}
    if isinstance(current, list) and isinstance(previous, list):
        by_id = {_id_of(member): member for member in current}
        by_id.pop(None, None)
        return [_complete(member, current, index, by_id) for index, member in enumerate(previous)]
    return previous


def _complete(member: object, current: list[object], index: int, by_id: Mapping[str | None, object]) -> object:
    """A member of a list, by the twin with its id; without an id, by the one in its place."""
    if not isinstance(member, dict):
        return member
    identifier = _id_of(member)
    if identifier is not None:
        return overlay(by_id.get(identifier), member)
    return overlay(current[index] if index < len(current) else None, member)


def _id_of(member: object) -> str | None:
    if not isinstance(member, dict):
        return None
    identifier = member.get("id")
    return identifier if isinstance(identifier, str) else None
