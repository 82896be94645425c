"""The verbs over recorded draws: results on stdout, one JSON object with --json."""
