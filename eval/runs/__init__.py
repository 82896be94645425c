"""Run folders: what a comparison writes as it goes, and how it is read back."""
