"""The API as pydantic models: the single source of the CRD, the docs' field table and the parser."""
