"""From mentions to numbers over time: bins, aggregate, exposure, panel, baseline."""
