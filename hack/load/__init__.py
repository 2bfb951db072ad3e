"""Open-loop load: requests at a constant rate, no retries, every answer accounted for by its request id."""
