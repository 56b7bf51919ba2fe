"""Scenario files, the names a user may type, the runner and the command line."""
