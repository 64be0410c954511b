"""Both pages in a real Chromium and a real Firefox against the real server."""
