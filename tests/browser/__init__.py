"""The call page in a real Chromium against the real server."""
