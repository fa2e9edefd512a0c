"""Memory out of the toolkit, in forms that other tools read."""
