"""Our base networks against fixtures of the published ones."""
