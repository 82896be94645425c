"""Tables of a comparison, in the terminal and as Markdown."""
