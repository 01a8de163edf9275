"""The state of an object before an update, made of its current state and the values that the update overwrote."""

from collections.abc import Mapping


def overlay(current: object, previous: object) -> object:
    """Return `current` with the old values of `previous`.

    Objects are merged, since `previous_attributes` names only their changed fields; everything else is replaced, also
    by null. Lists are complete, but their members may not be: each is completed from its current counterpart.
    """
    if isinstance(current, dict) and isinstance(previous, dict):
        return {**current, **{key: overlay(current.get(key), old) for key, old in previous.items()}}
    if isinstance(current, list) and isinstance(previous, list):
        by_id = {_id_of(member): member for member in current}
        by_id.pop(None, None)
        return [_complete(member, current, index, by_id) for index, member in enumerate(previous)]
    return previous


def _complete(member: object, current: list[object], index: int, by_id: Mapping[str | None, object]) -> object:
    """Complete a member of a list from the one with its id or, without an id, from the one at its index."""
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
