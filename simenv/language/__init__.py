"""Causal language models: a small one made from nothing, any checkpoint of transformers, and how both are taught."""
