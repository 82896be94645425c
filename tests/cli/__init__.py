"""The verbs over recorded draws: results on stdout, one JSON object with --json, one clear line for what is wrong."""
