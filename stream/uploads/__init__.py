"""Pictures that people give the server: who may, how they are read, a film to try them, and the routes for it."""
