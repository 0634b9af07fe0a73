"""Strategies for invented people: well-formed numbers and names that belong to nobody."""

from __future__ import annotations

from datetime import date

from hypothesis import strategies as st

from verifier.identity.id_number import check_digit

TODAY = date(2026, 5, 11)

phones = st.builds(
    "{}{:08d}".format,
    st.sampled_from(["138", "130", "133", "192", "170"]),
    st.integers(0, 10**8 - 1),
)
names = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFC), min_size=2, max_size=8)
birth_dates = st.dates(date(1907, 1, 1), TODAY)
bodies = st.builds(
    lambda area, born, sequence: f"{area:06d}{born:%Y%m%d}{sequence:03d}",
    st.integers(110000, 990000),
    birth_dates,
    st.integers(0, 999),
)
id_numbers = bodies.map(lambda body: body + check_digit(body))
