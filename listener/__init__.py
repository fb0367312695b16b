"""Hears service outages from what people write, in their own language, minutes before the companies say so."""

__version__ = "0.1.0"
