"""Where samples come from: each source counts requests and shows them as an Observation; none decides."""
