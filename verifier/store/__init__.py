"""PostgreSQL, the truth: tables, migrations and all SQL, a module a purpose.

Lock order, kept by every writer so that no two can deadlock: lane slots, provider rows, then open
verifications by ``user_id``, then users by ``id``; each statement takes its rows sorted. Claiming
may lock waiting rows first, since it skips rows that anybody holds.
"""
