"""Contract suites of the operations ports."""
