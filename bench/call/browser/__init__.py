"""The client that is a real browser."""
