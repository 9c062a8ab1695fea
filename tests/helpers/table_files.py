"""Writes tables in every format, and reads them as a task does."""

import csv
import json

import pytest

from electra_tf import errors
from electra_tf.kinds import registry

ROWS = [
    {"text": "a fine film", "label": "2"},
    {"text": "caf\u00e9 \u5317\u4eac", "label": "10"},
    {"text": "it 's bad", "label": "2"},
]


def write_tsv(file, rows):
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    file.write_text("\n".join(lines), "utf-8")


def write_csv(file, rows):
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


WRITERS = {".tsv": write_tsv, ".csv": write_csv, ".jsonl": write_jsonl}


def read(task, folder, **options):
    return registry.read(task, str(folder), **options)


def complaint(task, folder, **options):
    with pytest.raises(errors.UserError) as caught:
        read(task, folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


WORDS = ["New York", "is", "[big]"]
TAGS = ["B-LOC", "O", "B-X"]
