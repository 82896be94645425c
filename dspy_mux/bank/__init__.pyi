from .answer_reading import AnswerReading as AnswerReading
from .collect import Collected as Collected
from .import_export import export_file as export_file, import_file as import_file
from .jsonl import read_jsonl as read_jsonl
from .limits import Budget as Budget
from .record import Record as Record
from .sample_bank import SampleBank as SampleBank
