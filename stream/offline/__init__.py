"""The same engine on files: a picture and a sound become a film."""
