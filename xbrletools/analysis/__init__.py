"""What can be asked of a capture: its facts and sums, differences, searches, comparisons with logs, and its report."""
