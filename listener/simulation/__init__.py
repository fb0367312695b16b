"""Synthetic chatter with a known truth: series, panels and archives of posts. Everything follows from a seed.

What comes out of here is labelled synthetic wherever it is shown or stored.
"""
