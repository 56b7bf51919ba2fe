"""Who reacts: populations of users."""
