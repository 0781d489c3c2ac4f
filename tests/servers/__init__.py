"""Real servers for the tests, as `scripts/servers` builds them, started on loopback."""
