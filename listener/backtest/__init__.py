"""What would have been noticed of known events: figures for `listener backtest`, with what to compare them to."""
