"""What the browsers are shown and hear: a server in a process of its own, plain faces, a voice."""
