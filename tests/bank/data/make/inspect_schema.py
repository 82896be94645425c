"""Record what Inspect's library says of a log, as JSON Schema (pip install inspect-ai).

python inspect_schema.py FILE
"""

import json
import sys
from pathlib import Path

from inspect_ai.log import EvalLog, EvalSampleSummary

#: Fields that logs of ours leave out, and whose schemas are long: event, tool, review …
_LEFT_OUT = {
    "EvalSample": ("events", "timelines", "events_data", "error_retries", "sandbox"),
    "EvalConfig": ("approval", "review", "sentinel"),
    "EvalSpec": ("viewer", "model_roles", "sandbox"),
    "EvalLog": ("log_updates", "config_updates"),
}
_SAID = ("description", "title", "default", "examples")


def short(value):
    """Return a schema without what only people read."""
    if isinstance(value, dict):
        return {k: short(v) for k, v in value.items() if k not in _SAID or isinstance(v, dict)}
    return [short(one) for one in value] if isinstance(value, list) else value


def used(schema, definitions, found):
    """Add the definitions that a schema refers to."""
    for name in {part.split('"')[0] for part in json.dumps(schema).split("#/$defs/")[1:]}:
        if name not in found:
            found[name] = definitions[name]
            used(definitions[name], definitions, found)


log, summary = EvalLog.model_json_schema(), EvalSampleSummary.model_json_schema()
definitions = {**log.pop("$defs"), **summary.pop("$defs"), "EvalSampleSummary": summary}
definitions = {name: short(one) for name, one in definitions.items()}
log = short(log)
for name, fields in _LEFT_OUT.items():
    properties = (log if name == "EvalLog" else definitions[name])["properties"]
    for field in fields:
        properties.pop(field, None)
kept = {"EvalSampleSummary": definitions["EvalSampleSummary"]}
used(log, definitions, kept)
used(kept["EvalSampleSummary"], definitions, kept)
Path(sys.argv[1]).write_text(json.dumps({**log, "$defs": kept}, sort_keys=True) + "\n")
