"""Settings for suites that run hypothesis over the fixtures of a binding."""

from hypothesis import HealthCheck, settings

share_fixtures = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
"""Run all examples of a test on the same fixtures, for ports that keep nothing between calls; without a deadline."""
