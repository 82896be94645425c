"""`python -m eval compare`: every method on the same questions, with the same members and draws."""
