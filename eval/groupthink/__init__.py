"""What discussions do to right answers: groupthink, measured and judged."""
