"""Logging: one format for structlog and the standard library, and nothing personal in it.

Every record of this process, also of Celery, SQLAlchemy and urllib3, passes :func:`redacted` just
before it is rendered: the message, every value, and the text of exceptions. Numbers that could be a
phone or an identity number, e-mail addresses, query strings and what follows a word like
``password`` are replaced. Names of people cannot be recognised by a pattern: they must not be
logged in the first place.

Clearing context variables between two tasks is the workers' business.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from verifier.settings import settings

NUMBER, EMAIL, SECRET, QUERY = "[number]", "[e-mail]", "[secret]", "[query]"

_SENSITIVE = (
    r"(?:pass(?:word|wd|phrase)|secret|token|authorization|signature|credential|api[_-]?key"
    r"|access[_-]?key|secret[_-]?(?:id|key)|key[_-]?(?:id|secret)|app[_-]?key|cookie)"
)
_SENSITIVE_KEY = re.compile(_SENSITIVE, re.IGNORECASE)

# Between the groups of a number: how people, and programs, write one.
_GAP = r"[^\S\n]?[._/()·\u2010-\u2015-]?[^\S\n]?"
_PERSONAL = rf"""
          (?<!\d)\+?(?:86{_GAP})?1[3-9]\d{_GAP}\d{{4}}{_GAP}\d{{4}}(?!\d)     # mobile
        | (?<!\d)\d{{6}}{_GAP}\d{{8}}{_GAP}\d{{3}}[\dXxＸｘ](?!\d)            # identity number
"""
_PERSONAL_NUMBER = re.compile(_PERSONAL, re.VERBOSE)

# One alternation, tried left to right at each place: what may stay comes first.
_PATTERN = re.compile(
    r"""
      (?P<keep>                            # UUID: our own ids, known by version and variant
          \b[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b
      )
    | (?P<look>                            # stays, but for the number of a person in it
          \b0x[0-9a-f]+\b                                                       # memory address
        | (?<!\d)\d{1,5}\.\d+s\b                                                # seconds
        | \b(?:worker|interactive|control|beat|celery)@[\w.-]+                  # Celery node
      )
    | (?P<credentials>(?<=://)[^\s/@:]*+:[^\s/@]*+(?=@))
    | (?P<query>(?<=[^\s])\?[^\s"'>)?=]*+=[^\s"'>)]*)
    | (?P<email>[\w.+%-]{1,64}@[\w-]+(?:\.[\w-]+)+)
    | (?P<word>[\w-]{0,40}"""
    + _SENSITIVE
    + r"""[\w-]{0,40})
      (?P<between>["']?\s*[:=]\s*["']?(?:(?:bearer|basic)\s+)?)(?P<value>[^\s"',;&})\]]+)
    | (?P<authorization>(?<=\b)(?:bearer|basic)\s+[\w.+/=~-]{8,})
    | (?P<number>"""
    + _PERSONAL
    + r"""
        | \+?\d{7,}[XxＸｘ]?                                                  # another long one
      )
    """,
    re.VERBOSE | re.IGNORECASE,
)

#: Numbers of ours that say nothing about a person, when they are numbers and not text.
_PLAIN_NUMBER_KEYS = re.compile(r"^(?:id|pid|count|rows|bytes|cursor|sequence|.+_id|.+_count)$")
#: Made by us, and of a fixed shape.
_OWN_KEYS = frozenset({"timestamp", "level", "component"})


#: Characters of one text that are looked at and logged.
_LONGEST: Final = 8_000


def redact(text: str) -> str:
    """``text`` without what looks like a number of a person, an address or a credential.

    A text longer than a log line has any use for loses its middle, which also bounds the time.
    """
    if len(text) > _LONGEST:
        half = _LONGEST // 2
        text = f"{text[:half]} [{len(text) - _LONGEST} characters left out] {text[-half:]}"
    return _PATTERN.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    if match["keep"] is not None:
        return match["keep"]
    if match["look"] is not None:
        return _PERSONAL_NUMBER.sub(NUMBER, match["look"])
    if match["word"] is not None:
        return f"{match['word']}{match['between']}{SECRET}"
    if match["number"] is not None:
        return NUMBER
    if match["email"] is not None:
        return EMAIL
    if match["query"] is not None:
        return f"?{QUERY}"
    return SECRET


def redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The last processor before the renderer: nothing passes that it has not looked at."""
    return {
        redact(str(key)): value if key in _OWN_KEYS else _clean(str(key), value)
        for key, value in event.items()
    }


def _clean(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1_000_000 or _PLAIN_NUMBER_KEYS.match(key) else NUMBER
    if key != "event" and _SENSITIVE_KEY.search(key):
        return SECRET
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(k)): _clean(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(key, item) for item in value]
    return redact(repr(value))  # so that a renderer need not: it would look inside


class _Handler(logging.StreamHandler[TextIO]):
    """The standard handler prints the arguments of a record it cannot format. This one does not."""

    def handleError(self, record: logging.LogRecord) -> None:
        kind = sys.exc_info()[0]
        name = kind.__name__ if kind else "error"
        place = f"{record.pathname}:{record.lineno}"
        try:
            self.stream.write(f"a log record could not be written: {name} at {place}\n")
        except (OSError, ValueError):  # the stream is gone: there is nobody to tell
            return


def configure_logging(component: str, *, stream: TextIO | None = None) -> None:
    """Send every record of this process to ``stream`` (standard error). May be called again.

    Text on a terminal, else one JSON object a line; ``VERIFIER_LOG_FORMAT`` and
    ``VERIFIER_LOG_LEVEL`` decide otherwise. Uncaught exceptions of any thread pass here too.
    """
    target = stream or sys.stderr
    on_terminal = target.isatty()
    as_text = (settings().log_format or ("text" if on_terminal else "json")) == "text"
    shared = _shared_processors(component)
    handler = _Handler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.UnicodeDecoder(),
                redacted,
                _renderer(as_text, coloured=on_terminal and not os.environ.get("NO_COLOR")),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings().log_level)
    _quieten()
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _shared_processors(component: str) -> list[Processor]:
    def add_component(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["component"] = component
        return event

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        add_component,
    ]


def _renderer(as_text: bool, *, coloured: bool) -> Processor:
    if as_text:
        return structlog.dev.ConsoleRenderer(colors=coloured, pad_event_to=0)
    return structlog.processors.JSONRenderer(ensure_ascii=False)


def _quieten() -> None:
    """Loggers whose lower levels carry URLs or the parameters of statements: never shown."""
    for name in ("urllib3", "urllib3.connectionpool", "requests", "sqlalchemy.engine"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("verifier").critical("uncaught exception", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    if error is not None:
        _log_uncaught(arguments.exc_type, error, arguments.exc_traceback)
