"""simenv: a wind tunnel for recommenders."""

__version__ = "0.1.0"
