"""Readers of data files: each turns a publisher's own layout into a `Dataset`."""
