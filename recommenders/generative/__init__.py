"""The generative recommender: items named by tokens, a causal language model, its training and its decoder."""
