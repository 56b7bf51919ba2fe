"""The door to language models: what is asked, what comes back, and everything around it."""
