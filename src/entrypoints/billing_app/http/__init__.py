"""The HTTP surface: webhook intake, read API, stream, health and the activity page."""
