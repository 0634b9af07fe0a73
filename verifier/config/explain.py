"""From pydantic's errors to lines of the file: which line, what is wrong, in the terms of TOML."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from verifier.config.providers import settings_of

#: The tables that hold one table a name.
_NAMED = ("providers", "gateways", "webhooks", "lanes")


_ABOUT = re.compile(r"([a-z_]+(?:\.[A-Za-z0-9_-]+)*): ")


def syntax_fault(error: tomllib.TOMLDecodeError, text: str) -> str:
    """The line first, as :func:`explain` has it; tomllib names none at the end of the file."""
    message, _, place = str(error).rpartition(" (at ")
    found = re.fullmatch(r"line (\d+), column (\d+)\)", place)
    if found is not None:
        return f"line {found[1]}, column {found[2]}: {message}"
    return f"line {max(1, len(text.splitlines()))}: {message or error} (at the end of the file)"


def explain(
    error: ValidationError, text: str, document: Mapping[str, Any], root: type[BaseModel]
) -> list[str]:
    """A line for each fault: ``  line 7: providers.x.qps: must be greater than 0``."""
    lines = text.splitlines()
    found = []
    for item in error.errors():
        # pydantic says "[key]" where the name itself is wrong.
        keys = [part for part in item["loc"] if isinstance(part, str) and part != "[key]"]
        if item["type"] == "extra_forbidden":
            message = "unknown key" + _did_you_mean(keys, document, root)
        else:
            message = _in_words(item, keys)
        # A check of several keys says itself which of them it is about.
        about = _ABOUT.match(message) if item["type"] == "value_error" else None
        if about is not None:
            keys, message = [*keys, *about[1].split(".")], message[about.end() :]
        found.append(f"  line {_line_of(keys, lines)}: {'.'.join(keys)}: {message}")
    return found


def _in_words(item: Mapping[str, Any], keys: list[str]) -> str:
    """What is wrong with a value, in the terms of TOML. The value itself is never repeated."""
    match item["type"]:
        case "tuple_type":
            return f'must be a list: {keys[-1]} = ["...", "..."]'
        case "model_type" | "dict_type" if len(keys) <= 2 and keys[0] in _NAMED:
            return f"must be a table: write [{keys[0]}.NAME] above the keys of one of them"
        case "model_type" | "dict_type":
            return f"must be a table: write [{'.'.join(keys)}] above its keys"
        case "missing":
            return "is missing"
        case "string_pattern_mismatch" if keys[-1] == "currency":
            return 'must be three capital letters, such as "CNY"'
        case "string_pattern_mismatch" if keys[-1] == "path":
            return "must begin with / and hold printable ASCII only"
        case "enum" | "literal_error":
            expected = item["ctx"]["expected"]
            known = re.findall(r"'([^']*)'", expected)
            near = difflib.get_close_matches(str(item["input"]), known, n=1, cutoff=0.5)
            return f"must be {expected}" + (f"; did you mean {near[0]!r}?" if near else "")
    message: str = item["msg"]
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def _did_you_mean(keys: list[str], document: Mapping[str, Any], root: type[BaseModel]) -> str:
    model: type[BaseModel] | None = root
    if len(keys) > 2 and keys[0] == "providers":
        kind = settings_of(str(document["providers"][keys[1]].get("kind")))
        model = _model_at(kind, keys[2:-1]) if kind is not None else None
    elif len(keys) > 1:
        model = _model_at(root, keys[:-1])
    fields = model.model_fields if model is not None else {}
    known = [field.alias or name for name, field in fields.items()]
    near = difflib.get_close_matches(keys[-1], known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _model_at(model: type[BaseModel], keys: list[str]) -> type[BaseModel] | None:
    """The model of a nested table: a field's own, or that of the tables it holds by name."""
    found: type[BaseModel] | None = model
    for key in keys:
        field = found.model_fields.get(key) if found is not None else None
        if field is None:
            continue  # the name of one of the tables
        inside = [field.annotation, *getattr(field.annotation, "__args__", ())]
        models = [a for a in inside if isinstance(a, type) and issubclass(a, BaseModel)]
        found = models[0] if models else None
    return found


#: The keys of a line, bare or quoted, joined by dots: of a table's header or in front of a value.
_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_KEYS = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_KEYS})\s*\]")
_VALUE = re.compile(rf"\s*({_KEYS})\s*=")


def _line_of(keys: list[str], text: list[str]) -> int:
    """The first line that leads furthest down to the key; 1 if none leads there at all."""
    best, found = 0, 1
    table: list[str] = []
    for number, line in enumerate(text, start=1):
        header, value = _HEADER.match(line), _VALUE.match(line)
        if header is not None:
            path = table = _names(header[1])
        elif value is not None:
            path = [*table, *_names(value[1])]
        else:
            continue
        common = 0
        while common < min(len(path), len(keys)) and path[common] == keys[common]:
            common += 1
        if common > best:
            best, found = common, number
    return found


def _names(keys: str) -> list[str]:
    return [key.strip("\"'") for key in re.findall(_KEY, keys)]
