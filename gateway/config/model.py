"""The frozen pydantic model every document is made of, and the problems its rules raise.

Lifetime: config.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Iterator

Severity = Literal["error", "warning", "info"]

RULE_ERROR = "gateway_rule"
"""Type of the pydantic errors that carry `Problem`s in their context (key `problems`)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a value, told from where the value stands."""

    code: str
    """Stable code, documented in `findings.CODES`."""
    message: str
    at: tuple[str | int, ...] = ()
    """Path from the value that was checked to the field to blame, in Istio's (camelCase) names."""
    suggestion: str | None = None
    """What to write instead, as a sentence or fragment."""
    severity: Severity = "error"
    fatal: bool = True
    """Only of errors: whether the document cannot be used. Warnings and infos never are fatal."""


def rejection(*problems: Problem) -> PydanticCustomError:
    """The exception a pydantic validator raises to report `problems`."""
    message = "; ".join(problem.message for problem in problems)
    return PydanticCustomError(RULE_ERROR, "{message}", {"message": message, "problems": problems})


def camel(name: str) -> str:
    """Istio's JSON name of a snake_case field; digits keep their letters (`consecutive5xxErrors`)."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


class Model(BaseModel):
    """A frozen piece of configuration: unknown fields are errors, `None` is unset.

    Fields carry Istio's JSON name in snake_case; both spellings are read, as proto-JSON does.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )


class Checked(Model):
    """A model with rules that join several of its fields."""

    def _rules(self) -> Iterator[Problem]:
        """Everything wrong with this object whose fields are each fine; fatal errors refuse it."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _obey(self, info: ValidationInfo) -> Self:
        problems = tuple(self._rules())
        if not problems:
            return self
        errors = [problem for problem in problems if problem.severity == "error" and problem.fatal]
        if errors:
            raise rejection(*errors)
        notices: Any = (info.context or {}).get("notices")
        if notices is not None:
            notices.extend((self, problem) for problem in problems)
        return self
