"""Why a field was refused: the one list of reasons, each with a stable code.

An :class:`InvalidField` never carries the value, so it may be logged, shown and stored. It says
the field, the code (stable, for programs and for the catalogue of what a person may be told) and
the reason in English (for the engineer who reads the rejects of an import).
"""

from __future__ import annotations

from typing import Final

_TEXT: Final = {
    "empty": "is empty",
    "not_text": "is not text",
    "control_character": "contains a control or invisible character",
    "too_long": "is too long",
}

#: Field → code → reason. A field may be refused only for a reason that stands here.
REASONS: Final[dict[str, dict[str, str]]] = {
    "phone": {
        **_TEXT,
        "malformed": "is not a phone number",
        "scientific_notation": "was damaged by a spreadsheet (such as 1.38E+10): "
        "export the column as text",
        "several_numbers": "contains more than one number",
        "extension": "has an extension; only a mobile number itself can be verified",
        "hong_kong_number": "is a Hong Kong number; a mainland mobile number is needed",
        "macao_number": "is a Macao number; a mainland mobile number is needed",
        "taiwan_number": "is a Taiwan number; a mainland mobile number is needed",
        "foreign_number": "belongs to another country; a mainland mobile number is needed",
        "iot_number": "is a number for devices (13 digits); it belongs to no person",
        "short_number": "is a short or service number, not a person's mobile number",
        "landline": "is a landline number; a mobile number is needed",
        "wrong_length": "is not 11 digits long",
        "unassigned_segment": "begins with a segment that is assigned to no carrier",
    },
    "name": {
        **_TEXT,
        "too_short": "has fewer than 2 characters",
        "digit": "contains a digit",
        "private_use": "contains a private-use character; type the character again",
        "unexpected_character": "contains a character that no name has",
        "misplaced_punctuation": "begins or ends with punctuation, or repeats it",
    },
    "id_number": {
        **_TEXT,
        "malformed": "is not 17 digits and a digit or X",
        "scientific_notation": "was damaged by a spreadsheet (such as 1.10E+17): "
        "export the column as text",
        "fifteen_digits": "is an old number of 15 digits: ask for the 18-digit number",
        "wrong_length": "is not 18 characters long",
        "check_digit": "has a wrong check digit: a character is mistyped",
        "birth_date": "contains a birth date that does not exist",
        "birth_date_future": "contains a birth date in the future",
        "age": "contains a birth date more than 120 years ago",
        "unsupported_document": "is another kind of document: send it to manual review",
    },
    "reference": {
        **_TEXT,
        "looks_like_phone": "looks like a phone number; use an id of your own",
        "looks_like_id_number": "looks like an ID number; use an id of your own",
        "duplicate": "comes a second time in this input; the first was taken",
    },
    "platform": {
        **_TEXT,
        "looks_like_phone": "looks like a phone number; use the name of the product",
        "looks_like_id_number": "looks like an ID number; use the name of the product",
    },
    "email": {**_TEXT, "malformed": "is not an e-mail address"},
    "push_token": {**_TEXT},
    "locale": {**_TEXT, "unknown": "is not a language we have texts for: zh or en"},
    "time_zone": {**_TEXT, "unknown": "is not an IANA time zone such as Asia/Shanghai"},
    "bound_at": {**_TEXT, "malformed": "is not an ISO 8601 date or instant"},
    "consent_at": {**_TEXT, "malformed": "is not an ISO 8601 date or instant"},
    "row": {
        "malformed": "cannot be read as a row of this file",
        "too_wide": "has more fields than the header",
        "too_long": "is too long to be a row",
        "encoding": "is not text in the encoding of this file",
        "not_object": "is not a JSON object",
    },
}


class InvalidField(ValueError):
    """A field cannot be accepted as it is. ``str()`` is safe to log: it has no value in it."""

    def __init__(self, field: str, code: str) -> None:
        self.field = field
        self.code = code
        self.reason = REASONS[field][code]
        super().__init__(f"{field} {self.reason}")

    def __reduce__(self) -> tuple[type[InvalidField], tuple[str, str]]:
        return type(self), (self.field, self.code)
