"""Colours that people with any kind of sight can tell apart (Okabe and Ito, 2008), and what they stand for."""

from __future__ import annotations

LINE = "#0072b2"
USUAL = "#c9ced6"
STATES = {"no_data": "#8a8f98", "possible": "#e69f00", "problems": "#d55e00", "recovering": "#56b4e9"}
CAUSES = {"outage": "#d55e00", "block": "#cc79a7", "network": "#0072b2", "accounts": "#009e73", "echo": "#999999"}
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666")
