"""Pure decisions: an account and what is wanted in, one command out.

Raises: OperationRefusedError, everywhere; the caller is told its text.
"""
