"""Who recommends: every policy."""
