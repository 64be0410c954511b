"""`fada eval`, whole: `distill`'s suites, and pictures as people have them, framed by `stream`'s avatars' room."""
