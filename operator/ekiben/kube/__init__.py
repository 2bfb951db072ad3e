"""The imperative shell around the API server: it carries out, reports and retries, and decides nothing."""
