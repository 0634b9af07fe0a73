"""The vendor's number segments: which carrier a prefix was given to, and what the vendor covers.

Tencent Cloud document 1007/46063 (2025-04-28). This is the *vendor's* table, kept apart from the
product's own (``verifier.identity.phone``) on purpose: a test compares the two.
"""

from __future__ import annotations

from verifier.outcomes import Lane

_TABLE = {
    Lane.CMCC: (
        "1340 1341 1342 1343 1344 1345 1346 1347 1348 135 136 137 138 139 147 148 150 151 152 157 "
        "158 159 172 178 182 183 184 187 188 195 197 198"
    ),
    Lane.CUCC: "130 131 132 145 146 155 156 166 175 176 185 186 196",
    Lane.CTCC: "133 1349 141 149 153 173 174 177 180 181 189 190 191 193 199",
    Lane.CBN: "192",
    Lane.MVNO: "162 165 167 170 171",
}

#: Four-digit prefix → the carrier it was given to.
PREFIXES: dict[str, Lane] = {
    four: lane
    for lane, prefixes in _TABLE.items()
    for prefix in prefixes.split()
    for four in ([prefix] if len(prefix) == 4 else [f"{prefix}{digit}" for digit in range(10)])
}

#: The carriers whose numbers the vendor verifies: neither Broadnet (192) nor virtual operators.
COVERED = frozenset({Lane.CMCC, Lane.CUCC, Lane.CTCC})


def carrier_of_prefix(phone: str) -> Lane | None:
    """The carrier that a number's prefix was given to, or None when nobody has it."""
    return PREFIXES.get(phone[:4])
