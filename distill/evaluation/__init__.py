"""``fada eval``: what is measured (`measures`), on what (`suites`), how it is run (`run`, `long_run`, `speech`)."""
