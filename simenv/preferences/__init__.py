"""Preference records: who liked what more than what, and what training libraries read of it."""
