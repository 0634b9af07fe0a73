"""``[providers.NAME]``: what every provider has, and the model of its kind.

A kind is a module of :mod:`verifier.carriers` that has a ``Settings``. It is looked up by name, the
way a plug-in is, because its room is on a floor above: a new provider is one file there and nothing
here.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import re
from decimal import Decimal
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from verifier.config.common import Endpoint, Strict
from verifier.outcomes import Check, Lane

_CARRIERS = "verifier.carriers"

Price = Annotated[Decimal, Field(ge=0, le=10_000, decimal_places=6)]


class ProviderConfig(Strict):
    """The keys that every kind has. A kind adds its own, and says what it can reach."""

    kind: str
    endpoint: Endpoint
    lanes: tuple[Lane, ...] = Field((), description="whose numbers it verifies")
    checks: tuple[Check, ...] = Field((), description="what else it may be asked")
    check_lanes: tuple[Lane, ...] = Field(
        tuple(Lane), description="about whose numbers it may be asked these"
    )
    preference: int = Field(1, ge=1, le=99, description="lower is asked first")
    qps: float = Field(20.0, ge=0.001, le=100_000)
    timeout: float = Field(8.0, gt=0, le=30, description="total deadline of a call, seconds")
    connect_timeout: float = Field(2.0, gt=0, le=10)
    price: Price = Field(Decimal(0), description="of a billed result")
    urgent_surcharge: Price = Field(Decimal(0), description="on top, where somebody waits for it")
    check_prices: dict[Check, Price] = Field(
        default_factory=dict, description="of a billed answer to a check"
    )
    currency: str = Field("CNY", pattern="^[A-Z]{3}$")

    #: The checks that an implementation of this kind knows.
    supported_checks: ClassVar[frozenset[Check]] = frozenset()

    @property
    def reaches(self) -> frozenset[Lane]:
        """The lanes that the API can verify at all, with these settings."""
        return frozenset(Lane)

    @property
    def vendor(self) -> str:
        """Whose it is: two providers of one vendor are one way, not two."""
        return urlsplit(self.endpoint).hostname or self.endpoint

    def secrets(self) -> tuple[str, ...]:
        """The references to secrets in it."""
        return ()

    def price_of(self, check: Check | None, *, urgent: bool) -> Decimal:
        """What a billed answer costs, in :attr:`currency`."""
        if check is not None:
            return self.check_prices.get(check, Decimal(0))
        return self.price + (self.urgent_surcharge if urgent else 0)

    @model_validator(mode="after")
    def _can_do_it(self) -> ProviderConfig:
        if not self.lanes and not self.checks:
            raise ValueError("it has neither lanes nor checks, so that nothing is ever asked")
        beyond = [lane for lane in self.lanes if lane not in self.reaches]
        if beyond:
            raise ValueError(
                f"lanes: cannot verify {_named(beyond)} numbers; it reaches {_named(self.reaches)}"
            )
        unknown = [check for check in self.checks if check not in self.supported_checks]
        if unknown:
            known = _named(self.supported_checks) or "none"
            raise ValueError(f"checks: cannot check {_named(unknown)}; it knows {known}")
        return self


def _named(values: object) -> str:
    return ", ".join(sorted(str(value) for value in values))  # type: ignore[attr-defined]


def settings_of(kind: str) -> type[ProviderConfig] | None:
    """The model of a kind, or None when there is no such kind."""
    name = f"{_CARRIERS}.{kind}"
    if not re.fullmatch("[a-z][a-z0-9_]{0,39}", kind) or importlib.util.find_spec(name) is None:
        return None
    model = getattr(importlib.import_module(name), "Settings", None)
    # A room that only imports somebody's Settings is no kind, nor is the base of them all.
    if not isinstance(model, type) or model.__module__ != name or inspect.isabstract(model):
        return None
    return model if issubclass(model, ProviderConfig) else None


def kinds() -> list[str]:
    """Every kind there is, in order."""
    rooms = importlib.import_module(_CARRIERS).__path__
    names = sorted(room.name for room in pkgutil.iter_modules(rooms))
    return [name for name in names if settings_of(name) is not None]


def _known_kind(kind: str) -> str:
    if settings_of(kind) is None:
        known = kinds()
        near = difflib.get_close_matches(kind, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"must be one of {', '.join(known)}{hint}")
    return kind


class _Kind(BaseModel):
    kind: Annotated[str, AfterValidator(_known_kind)]


def _of_its_kind(value: Any, handler: ValidatorFunctionWrapHandler) -> ProviderConfig:
    if not isinstance(value, dict):
        given: ProviderConfig = handler(value)
        return given
    model = settings_of(_Kind.model_validate(value).kind)
    if model is None:
        raise ValueError("its kind went away")
    return model.model_validate(value)


#: A provider's table, read by the model of its kind.
AnyProvider = Annotated[ProviderConfig, WrapValidator(_of_its_kind)]
