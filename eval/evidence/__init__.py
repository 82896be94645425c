"""`python -m eval evidence`: what log-probabilities are worth beside votes, on recorded draws."""
