"""A whole call, measured: a real server, a real client, and every stage between them."""
