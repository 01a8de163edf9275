"""Test kit for adapters: one contract suite per port, in the folders of the core, and builders of domain values."""
