"""Sweepers: level-triggered, chunked, safe to run twice at once; each returns counts."""
