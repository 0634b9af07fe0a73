"""The nightly self-audit: who is unverified, failed or overdue, what is queued again, who acts."""
