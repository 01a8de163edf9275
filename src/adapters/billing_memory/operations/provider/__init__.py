"""A payment provider in process: its objects, and how commands change them."""
