"""Reminders: who is told that their check failed, when, how, and at most once a day."""
