"""Every port in process: fakes for tests, and working adapters for applications that embed the core."""
