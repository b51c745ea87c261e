"""Arguments of a function by their names, however they are passed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...system.errors import UnknownName, UsageError
from .crossing import Crossing

Named = Callable[[tuple[Any, ...], Mapping[str, Any], str], Any]


def argument_names(called: Callable[..., Any], crossings: Sequence[Crossing]) -> Named:
    """What finds an argument by its name; UnknownName where the crossing names one that the function does not take."""
    wanted = tuple(name for crossing in crossings for name in _names(crossing))
    what = getattr(called, "__qualname__", type(called).__name__)
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # some functions of C tell no names
        if wanted:
            raise UsageError(f"{what} tells no names of its arguments; give functions that read them") from None
        signature = inspect.Signature()
    known = signature.parameters
    if not any(one.kind is one.VAR_KEYWORD for one in known.values()):
        for name in wanted:
            if name not in known:
                raise UnknownName(f"argument of {what}", name, known)
    return lambda args, kwargs, name: _value(signature, args, kwargs, name)


def _names(crossing: Crossing) -> Iterator[str]:
    if isinstance(crossing.ids, str):
        yield crossing.ids
    if not callable(crossing.tensors):
        yield from crossing.tensors.values()


def _value(signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str) -> Any:
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    if name in bound.arguments:
        return bound.arguments[name]
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD and name in bound.arguments[parameter.name]:
            return bound.arguments[parameter.name][name]
    raise UsageError(f"the call has no argument {name!r}; give a function that reads it")
