"""Groupthink: what discussions do to right answers, by a fixed definition and by a judge."""
