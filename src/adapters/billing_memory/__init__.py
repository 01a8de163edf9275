"""Every port in process: the fakes of the tests, and a working set for whoever embeds the core."""
