"""The bound on what a person costs: two slots a business day, taken before a call, freed after it.

A slot is freed only when the call was certainly not billed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import Connection, text

from verifier.store import arrays


def take_billed_slots(
    connection: Connection, wanted: Sequence[tuple[int, bytes]], day: date
) -> set[int]:
    """Of (verification id, person), those that got one of the person's two slots of ``day``.

    Sorted and slot by slot, so that concurrent claims cannot deadlock.
    """
    got: set[int] = set()
    for slot in (1, 2):
        rest = sorted(((i, p) for i, p in wanted if i not in got), key=lambda w: (w[1], w[0]))
        if rest:
            got.update(
                connection.scalars(
                    text("""
                        INSERT INTO verifier.billed_slots (person, day, slot, verification_id)
                        SELECT w.person, :day, :slot, w.id
                          FROM unnest(CAST(:people AS bytea[]), CAST(:ids AS bigint[]))
                               WITH ORDINALITY AS w (person, id, place) ORDER BY w.place
                        ON CONFLICT DO NOTHING RETURNING verification_id
                    """),
                    {
                        "day": day,
                        "slot": slot,
                        "people": arrays.of_bytes(p for _, p in rest),
                        "ids": arrays.of_numbers(i for i, _ in rest),
                    },
                ).all()
            )
    return got


def free_billed_slots(
    connection: Connection, unbilled: Sequence[tuple[int, int, datetime]], zone: str
) -> None:
    """Free a slot for each (verification id, user id, started) that was certainly not billed.

    Each on its own business day in ``zone``: an answer that comes after midnight must not free
    what today's call has taken.
    """
    if not unbilled:
        return
    connection.execute(
        text("""
            WITH unbilled AS (
              SELECT id, user_id, CAST(started AT TIME ZONE :zone AS date) AS day,
                     count(*) AS number
                FROM unnest(CAST(:ids AS bigint[]), CAST(:users AS bigint[]),
                            CAST(:started AS timestamptz[])) AS r (id, user_id, started)
               GROUP BY 1, 2, 3
            ), free AS (
              SELECT b.person, b.day, b.slot, n.number,
                     row_number() OVER (PARTITION BY n.id, n.day ORDER BY b.slot DESC) AS place
                FROM unbilled n JOIN verifier.users u ON u.id = n.user_id
                JOIN verifier.billed_slots b ON b.person = u.id_number_index AND b.day = n.day
                                            AND b.verification_id = n.id
            )
            DELETE FROM verifier.billed_slots s USING free
             WHERE s.person = free.person AND s.day = free.day AND s.slot = free.slot
               AND free.place <= free.number
        """),
        {
            "zone": zone,
            "ids": arrays.of_numbers(verification for verification, _, _ in unbilled),
            "users": arrays.of_numbers(user for _, user, _ in unbilled),
            "started": arrays.of_instants(started for _, _, started in unbilled),
        },
    )
