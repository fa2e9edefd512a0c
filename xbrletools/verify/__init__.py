"""What is wrong with a capture: its rules and findings, the records behind each, and what receivers make of it."""
