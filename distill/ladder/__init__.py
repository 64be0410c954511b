"""The ladder from teacher to one evaluation: every row trained alike, measured alike, printed as one table."""
