from .extract import ExtractAnswer as ExtractAnswer, ExtractingAdapter as ExtractingAdapter
from .formats import (
    CompletionAdapter as CompletionAdapter,
    FewShotAdapter as FewShotAdapter,
    JSONSchemaAdapter as JSONSchemaAdapter,
    PlainAdapter as PlainAdapter,
    default_adapter as default_adapter,
)
from .guard import GuardedAdapter as GuardedAdapter
