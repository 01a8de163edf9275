"""Replacing a secret while servers run: which step is next follows from the settings and from what servers use."""
