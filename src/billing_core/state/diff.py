"""Differences between two versions of an object, field by field, for people and JSON."""

from collections.abc import Mapping

import attrs

from billing_core.converters import to_plain
from billing_core.model import TenantId, Tracked


@attrs.frozen(kw_only=True)
class FieldChange:
    """One field with its values before and after, both as plain JSON; None where there was or is no value."""

    field: str
    before: object
    after: object


@attrs.frozen(kw_only=True)
class ObjectChange:
    """One object and the fields that changed. For a new object these are all its fields."""

    kind: str
    object_id: str
    tenant_id: TenantId | None
    fields: tuple[FieldChange, ...]


def changed_object(before: Tracked | None, after: Tracked) -> ObjectChange | None:
    """Return the changes to an object, those to its provenance included; None if there are none."""
    fields = [*_changed_links(before, after), *changed_fields(before and before.snapshot, after.snapshot)]
    basis = before.provenance if before else None
    fields += changed_fields(basis, after.provenance)
    if not fields:
        return None
    return ObjectChange(kind=after.kind, object_id=after.object_id, tenant_id=after.tenant_id, fields=tuple(fields))


def removed_object(before: Tracked) -> ObjectChange:
    """Return the removal of an object: every field that it had."""
    link = FieldChange(field="tenant_id", before=before.tenant_id, after=None)
    fields = (link, *changed_fields(before.snapshot, None), *changed_fields(before.provenance, None))
    return ObjectChange(kind=before.kind, object_id=before.object_id, tenant_id=None, fields=fields)


def changed_fields(before: object | None, after: object | None) -> tuple[FieldChange, ...]:
    """Return the fields in which two attrs values of one class differ; None counts as a value without fields."""
    if before == after:
        return ()
    old, new = _fields(before), _fields(after)
    return tuple(
        FieldChange(field=name, before=old.get(name), after=new.get(name))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    )


def _changed_links(before: Tracked | None, after: Tracked) -> tuple[FieldChange, ...]:
    known = before.tenant_id if before else None
    if known == after.tenant_id:
        return ()
    return (FieldChange(field="tenant_id", before=known, after=after.tenant_id),)


def _fields(value: object | None) -> Mapping[str, object]:
    return {} if value is None else to_plain(value)
