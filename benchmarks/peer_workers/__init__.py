"""The peers of our recommenders, each measured by a small program that runs where that peer is installed."""
