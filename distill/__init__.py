"""Corpus, teacher training, distillation, evaluation and the bundled avatars."""
