"""Files that an earlier version made, which every later one opens and reads as it did."""
