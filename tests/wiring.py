"""Compare what a container gives to its objects with what they ask for: the check that no type checker makes."""

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
from dependency_injector import containers, errors, providers


def misfits(container: containers.DeclarativeContainer | containers.DynamicContainer) -> list[str]:
    """Resolve every provider and describe each argument that its parameter does not take.

    An argument fits if it is an instance of the annotation; of a port, if it has all of its methods; of a `Callable`,
    if it takes arguments of these types.
    """
    return [misfit for provider in _singletons(container) for misfit in _misfits(provider)]


def _singletons(container: Any) -> Iterator[Any]:
    """Find the providers that make something, those without a name among them."""
    return (each for each in container.traverse(types=[providers.BaseSingleton]) if not each.overridden)


def _misfits(provider: Any) -> Iterator[str]:
    made = provider.provides
    try:
        args = [_resolved(each) for each in provider.args]
        kwargs = {name: _resolved(each) for name, each in provider.kwargs.items()}
        given = inspect.signature(made).bind(*args, **kwargs).arguments
    except (TypeError, AttributeError, errors.Error) as exc:
        yield f"{made.__name__}: {exc}"
        return
    annotations = parameters(made)
    for name, value in given.items():
        if not fits(value, annotations[name]):
            yield f"{made.__name__}: {name} is {value!r}, not {annotations[name]}"


def _resolved(injection: Any) -> Any:
    return injection() if providers.is_provider(injection) else injection


def parameters(made: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotations of a class's or a function's parameters."""
    if not isinstance(made, type):
        return get_type_hints(made)
    if attrs.has(made):
        hints = get_type_hints(made)
        return {field.alias: hints[field.name] for field in attrs.fields(made)}
    return get_type_hints(made.__init__)


def fits(value: object, annotation: Any) -> bool:
    """Return whether a value is of an annotation's type."""
    origin = get_origin(annotation)
    if annotation in (Any, object) or isinstance(annotation, TypeVar):
        return True
    if annotation is None:
        return value is None
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in get_args(annotation))
    if origin is Literal:
        return value in get_args(annotation)
    if hasattr(annotation, "__supertype__"):
        return fits(value, annotation.__supertype__)
    if origin is Callable:
        return callable(value) and _takes(value, get_args(annotation)[0])
    return isinstance(value, origin or annotation)


def _takes(function: Callable[..., Any], wanted: Any) -> bool:
    """Return whether a function can be called with arguments of these types."""
    if wanted is ...:
        return True
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*wanted).arguments
    except (TypeError, ValueError):
        return False
    hints = get_type_hints(function)
    return all(_accepts(hints.get(name, Any), each) for name, each in bound.items())


def _accepts(parameter: Any, argument: Any) -> bool:
    """Return whether a parameter of one type takes an argument of another; collections with their items."""
    if parameter is Any or parameter == argument:
        return True
    wide, narrow = get_origin(parameter) or parameter, get_origin(argument) or argument
    if not (isinstance(wide, type) and isinstance(narrow, type) and issubclass(narrow, wide)):
        return False
    return get_args(parameter) == get_args(argument)
