"""Calls: who is here, what each one owns, and who watches."""
