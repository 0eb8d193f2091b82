"""Which fields a model has at a path: for suggestions and for positions.

Lifetime: config. Plain functions over pydantic's own description of the models.
"""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from gateway.config.model import camel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@cache
def field_types(model: type[BaseModel]) -> dict[str, Any]:
    """JSON name -> annotation of every field of `model`."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _bare(annotation: Any) -> Any:
    """`annotation` without Annotated and None."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
            continue
        members = [item for item in get_args(annotation) if item is not NoneType]
        if NoneType in get_args(annotation) and len(members) == 1:
            annotation = members[0]
            continue
        return annotation


def type_at(model: type[BaseModel], path: Sequence[str | int]) -> Any:
    """What stands at `path` below `model`: a model class or a bare annotation; None when nothing does."""
    here: Any = model
    for step in path:
        here = _bare(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            fields = field_types(here)
            here = fields.get(str(step), fields.get(camel(str(step))))
        elif get_origin(here) is dict:
            here = get_args(here)[1]
        elif get_origin(here) is tuple and isinstance(step, int):
            here = get_args(here)[0]
        else:
            return None
    return _bare(here)


def fields_at(model: type[BaseModel], path: Sequence[str | int]) -> tuple[str, ...]:
    """JSON names of the fields a mapping at `path` may have."""
    here = type_at(model, path)
    return tuple(field_types(here)) if isinstance(here, type) and issubclass(here, BaseModel) else ()


def words_at(model: type[BaseModel], path: Sequence[str | int]) -> tuple[str, ...]:
    """The words a `Literal` field at `path` takes."""
    here = type_at(model, path)
    return get_args(here) if get_origin(here) is Literal else ()


def walk(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[BaseModel, tuple[str | int, ...]]]:
    """Every model below `value`, itself included, with its path."""
    if isinstance(value, BaseModel):
        yield value, path
        for name, item in value.__dict__.items():
            yield from walk(item, (*path, camel(name)))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from walk(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, (*path, key))
