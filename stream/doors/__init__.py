"""Doors for programs: ways into a call for who is no browser and brings its own sound."""
