import gzip
import io
import json
import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

from electra_tf import errors
from electra_tf.finetuning import predictor, task_config
from electra_tf.tasks import (
    masked_lm,
    multiple_choice,
    question_answerer,
    token_classifier,
)

SETTINGS = task_config.FinetuneConfig(train={"batch_size": 2})


def predict(preset, output=None, settings=SETTINGS, **source):
    predictor.predict(str(preset), settings, output=output and str(output), **source)


@pytest.fixture
def say(tiny_tuned, tmp_path):
    """Answers a file of some text by the classifier of tiny_tuned."""

    def answer(text, ending=".txt", output="out.jsonl", settings=SETTINGS):
        source = tmp_path / f"in{ending}"
        data = text if isinstance(text, bytes) else text.encode()
        source.write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
        predict(tiny_tuned[0], tmp_path / output, settings, source=str(source))
        return read_lines(tmp_path / output)

    return answer


def read_lines(path):
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def known(tiny_tuned):
    """Texts whose classes the model knows by heart."""
    return read_lines(tiny_tuned[0] / "predictions" / "dev.jsonl")


def test_texts_are_answered_on_stdout(tiny_tuned, known, capsys):
    predict(tiny_tuned[0], texts=[row["text"] for row in known])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["label"] for line in lines] == [row["gold"] for row in known]
    assert list(lines[0]) == ["text", "label", "score", "scores"]


def test_answers_in_float16_are_those_of_float32_nearly(tiny_tuned, known, capsys):
    settings = task_config.FinetuneConfig(train={"precision": "mixed_float16"})
    predict(tiny_tuned[0], settings=settings, texts=[row["text"] for row in known])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["label"] for line in lines] == [row["gold"] for row in known]
    apart = [
        abs(line["score"] - row["score"])
        for line, row in zip(lines, known, strict=True)
    ]
    assert 0.0 < max(apart) < 0.01


@pytest.mark.parametrize("ending", [".txt", ".txt.gz"])
def test_each_line_of_text_has_its_answer_and_a_blank_one_too(ending, say, known):
    texts = [known[0]["text"], "", known[1]["text"], "caf\u00e9\u2028x", " the"]
    rows = say("\r\n".join(texts), ending)
    assert [row["text"] for row in rows] == texts
    assert [rows[0]["label"], rows[2]["label"]] == [known[0]["gold"], known[1]["gold"]]


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".tsv", 'id\ttext\n7\tthe "cat"\n\nx\t\n'),
        (".csv", '\ufeffid,text\n7,"the ""cat"""\nx,\n'),
        (".csv", 'sep=;\nID;Text\n7;"the ""cat"""\nx;\n'),
        (".tsv", 'id\ttext\n7\t"the ""cat"""\nx\t\n'),
        (".tsv", 'id\ttext\r\n7\tthe "cat"\r\nx\t\r\n'.encode("utf-16")),
        (".json", '[{"id": 7, "text": "the \\"cat\\""}, {"id": "x", "text": null}]'),
        (".jsonl.gz", '{"id": 7, "text": "the \\"cat\\""}\n\n{"text": "", "id": "x"}'),
    ],
)
def test_tables_have_columns_and_hand_ids_through(ending, text, say):
    rows = say(text, ending)
    assert [row["text"] for row in rows] == ['the "cat"', ""]
    assert [str(row["id"]) for row in rows] == ["7", "x"]


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".txt", "good\n\nbad\n"),
        (".tsv", "text\ngood\n\nbad\n"),
        (".csv", 'text\ngood\n""\nbad\n'),
        (".csv", "text\ngood\n\nbad\n"),
        (".tsv", "text\tx\ngood\t\n\t\nbad\t\n"),
        (".csv", "text,x\ngood,\n,\nbad,\n"),
        (".jsonl", '{"text": "good"}\n{"text": null}\n{"text": "bad"}\n'),
        (".json", '{"text": {"0": "good", "1": "", "2": "bad"}}'),
    ],
)
def test_a_row_in_is_a_row_out_though_it_is_empty(ending, text, say):
    assert [row["text"] for row in say(text, ending)] == ["good", "", "bad"]


def test_rows_of_parquet_are_answered(say, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": ["a", None, "b"], "id": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "x.parquet")
    whole = (tmp_path / "x.parquet").read_bytes()
    for ending in (".parquet", ".parquet.gz"):
        rows = say(whole, ending)
        assert [(row["id"], row["text"]) for row in rows] == [
            (1, "a"),
            (2, ""),
            (3, "b"),
        ]
    with pytest.raises(errors.UserError, match="is not Parquet, or damaged"):
        say(whole[:-20], ".parquet")


def test_a_table_out_has_the_cells_of_its_header(say, tmp_path):
    rows = '{"id": 1, "text": "a"}\n{"text": "b"}\n{"id": 3, "text": "c"}\n'
    with pytest.raises(json.JSONDecodeError):
        say(rows, ".jsonl", "out.tsv")
    lines = (tmp_path / "out.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in lines] == [
        ["id", "text"],
        ["1", "a"],
        ["", "b"],
        ["3", "c"],
    ]
    with pytest.raises(errors.UserError, match=r"has no column 'id', .* in \.jsonl"):
        say('{"text": "b"}\n{"id": 3, "text": "c"}\n', ".jsonl", "out.tsv")


def test_a_cell_of_csv_may_hold_lines(say):
    (row,) = say('text\n"the\ncat"\n', ".csv")
    assert row["text"] == "the\ncat"


def test_a_second_text_is_read_where_there_is_one(say):
    rows = say("text\ttext_pair\na\tb\n", ".tsv")
    assert (rows[0]["text"], rows[0]["text_pair"]) == ("a", "b")
    settings = task_config.FinetuneConfig(
        data={"options": {"text_column": "s1", "text_pair_column": "s2"}}
    )
    rows = say("s1\ts2\na\tb\n", ".tsv", settings=settings)
    assert (rows[0]["text"], rows[0]["text_pair"]) == ("a", "b")


def test_a_table_out_has_a_header_and_no_tabs_in_cells(say, tmp_path):
    rows = '{"text": "the\\tcat\\nsat"}\n{"text": "a"}\n'
    with pytest.raises(json.JSONDecodeError):
        say(rows, ".jsonl", "out.tsv")
    lines = (tmp_path / "out.tsv").read_text().split("\n")
    assert lines[0].split("\t") == ["text", "label", "score", "scores"]
    assert lines[1].split("\t")[0] == "the cat sat"
    assert json.loads(lines[2].split("\t")[3]).keys() == {"yes", "no"}
    assert len(lines) == 4


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux' /dev/full")
@pytest.mark.parametrize("ending", ["jsonl", "tsv", "jsonl.gz"])
def test_a_full_disk_is_said_in_a_line_that_names_the_output(say, tmp_path, ending):
    (tmp_path / f"out.{ending}").symlink_to("/dev/full")
    with pytest.raises(errors.UserError, match=rf"out\.{ending}: No space left"):
        say("a\nb\n", output=f"out.{ending}")


def test_output_may_be_packed(say, tmp_path):
    with pytest.raises(UnicodeDecodeError):
        say("a\nb\n", output="out.jsonl.gz")
    lines = gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["a", "b"]


def test_nothing_in_is_nothing_out(say):
    assert say("") == []
    assert say("text\n", ".tsv") == []


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("the cat\n{\n", ["the cat", "{"]),
        ('{"text": "the cat"}\n{"text": "a"}\n', ["the cat", "a"]),
        ("5\n", ["5"]),
        ("", []),
    ],
)
def test_stdin_is_lines_of_text_or_json(text, texts, tiny_tuned, monkeypatch, capsys):
    stream = io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8")
    monkeypatch.setattr("sys.stdin", stream)
    predict(tiny_tuned[0], source="-")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["text"] for line in lines] == texts


def test_answers_come_while_there_is_more_to_read(tiny_tuned, tmp_path):
    pipe, output = tmp_path / "pipe.txt", tmp_path / "out.jsonl"
    os.mkfifo(pipe)
    seen = []

    def feed():
        with open(pipe, "w") as stream:
            for part in range(3):
                stream.write("the cat\n" * 16)  # 8 batches of 2
                stream.flush()
                deadline = time.monotonic() + 60
                while time.monotonic() < deadline:
                    seen_now = (
                        len(output.read_text().splitlines()) if output.exists() else 0
                    )
                    if seen_now == 16 * (part + 1):
                        break
                    time.sleep(0.02)
                seen.append(seen_now)

    feeder = threading.Thread(target=feed)
    feeder.start()
    predict(tiny_tuned[0], output, source=str(pipe))
    feeder.join()
    assert seen == [16, 32, 48]


# Other tasks.


@pytest.fixture
def save(tiny_backbone, tiny_preprocessor, tmp_path):
    def make(kind, **arguments):
        model = kind(
            backbone=tiny_backbone, preprocessor=tiny_preprocessor, **arguments
        )
        model.save_to_preset(str(tmp_path / "preset"))
        return tmp_path / "preset"

    return make


def answer_rows(preset, rows, tmp_path, **settings):
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predict(
        preset,
        tmp_path / "out.jsonl",
        task_config.FinetuneConfig(**settings),
        source=str(source),
    )
    return read_lines(tmp_path / "out.jsonl")


def test_questions_have_a_context(save, tmp_path):
    rows = [{"question": "who", "context": "the cat sat"}]
    (row,) = answer_rows(
        save(question_answerer.ElectraQuestionAnswerer), rows, tmp_path
    )
    assert row["answer"] == row["context"][row["start"] : row["end"]] != ""
    with pytest.raises(errors.UserError, match="line 1: no column 'context'; it has"):
        answer_rows(tmp_path / "preset", [{"question": "who"}], tmp_path)


def test_words_are_a_list_or_a_text(save, tmp_path):
    preset = save(
        token_classifier.ElectraTokenClassifier, num_classes=2, class_names=["O", "B"]
    )
    rows = [{"words": ["the", "cat"]}, {"words": "a dog ran"}, {"words": []}]
    found = answer_rows(preset, rows, tmp_path)
    assert [row["words"] for row in found] == [["the", "cat"], ["a", "dog", "ran"], []]
    assert [len(row["tags"]) for row in found] == [2, 3, 0]
    (row,) = answer_rows(preset, [{"text": "the cat"}], tmp_path)
    assert row["words"] == ["the", "cat"]


def test_choices_are_a_list_or_columns(save, tmp_path):
    preset = save(multiple_choice.ElectraMultipleChoice)
    (row,) = answer_rows(preset, [{"prompt": "a", "choices": ["b", "c"]}], tmp_path)
    assert row["choice"] == row["choices"][row["index"]]
    options = {"options": {"choices_column": "x,y", "prompt_column": "p"}}
    (row,) = answer_rows(
        preset, [{"p": "a", "x": "b", "y": "c"}], tmp_path, data=options
    )
    assert (row["prompt"], row["choices"]) == ("a", ["b", "c"])


def test_blanks_are_filled_in(save, tmp_path):
    (row,) = answer_rows(
        save(masked_lm.ElectraMaskedLM), [{"text": "the [MASK] sat [MASK]"}], tmp_path
    )
    assert [len(blank) for blank in row["blanks"]] == [5, 5]


def test_a_preset_remembers_its_columns(tiny_tuned, tmp_path, capsys):
    preset = shutil.copytree(tiny_tuned[0] / "preset", tmp_path / "preset")
    about = json.loads((preset / "metadata.json").read_text())
    about["electra_tf"]["origin"]["columns"] = {"text_column": "review"}
    (preset / "metadata.json").write_text(json.dumps(about))
    (preset / "SHA256SUMS").unlink()
    rows = [{"Review": "a cat"}, {"text": "a dog"}]
    assert [row["text"] for row in answer_rows(preset, rows, tmp_path)] == [
        "a cat",
        "a dog",
    ]
    predict(preset, texts=["the cat"])
    assert json.loads(capsys.readouterr().out)["text"] == "the cat"


def test_the_generator_of_what_pre_training_left_fills_in_blanks(tiny_preset, capsys):
    texts = ["the cat [MASK] .", "the dog"]
    predict(tiny_preset, texts=texts, network="generator")
    found, none = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert [len(blank) for blank in found["blanks"]] == [5]
    assert none["blanks"] == []
    # Who judges tokens says who would fill them in, once.
    predict(tiny_preset, texts=[texts[0]] * 40)
    told = capsys.readouterr().err
    assert told.count("[MASK]") == 1
    assert "--network=generator" in told
    predict(tiny_preset, texts=texts[1:])
    assert "[MASK]" not in capsys.readouterr().err
    with pytest.raises(errors.UserError, match="network='both': want one of encoder"):
        predict(tiny_preset, texts=texts, network="both")


def test_what_pre_training_left_tells_replaced_tokens(tiny_preset, capsys):
    predict(tiny_preset, texts=["the cat"])
    row = json.loads(capsys.readouterr().out)
    assert [token["token"] for token in row["tokens"]] == ["the", "cat"]


# Bad input.


@pytest.mark.parametrize(
    ("text", "ending", "said"),
    [
        (
            b"the cat\na \xff b\n",
            ".txt",
            "in.txt, line 2 is not UTF-8 (byte 10 is 0xff)",
        ),
        ("text\na\nb\tc\n", ".tsv", "in.tsv, line 3: 2 columns, want 1"),
        ("sentence\na\n", ".tsv", "line 2: no column 'text'; it has 'sentence': ren"),
        ('text\n"a', ".csv", "in.csv, line 2 is not CSV"),
        ('{"text": "a"}\n{"text"\n', ".jsonl", "in.jsonl, line 2 is not JSON"),
        ('{"text": "a"}\n["b"]\n', ".jsonl", "line 2: ['b'], want an object"),
        ('{"text": 5}\n', ".jsonl", "line 1: column 'text' is 5, want text"),
        ("a", ".doc", "in.doc: want a name that ends in .tsv .csv .jsonl .json .par"),
        ("a", ".xlsx", "want a name that ends in .* .txt; save it as .csv"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(text, ending, said, say, tmp_path):
    with pytest.raises(errors.UserError) as caught:
        say(text, ending)
    assert re.search(re.escape(said).replace(r"\.\*", ".*"), str(caught.value))
    assert "\n" not in str(caught.value)


def test_lines_before_a_bad_one_are_answered(say, tmp_path):
    with pytest.raises(errors.UserError, match="line 4 is not JSON"):
        say('{"text": "a"}\n' * 3 + "{", ".jsonl")
    assert len(read_lines(tmp_path / "out.jsonl")) == 3


def test_a_packed_file_that_was_cut_short_is_named(tiny_tuned, tmp_path):
    whole = gzip.compress(os.urandom(100).hex().encode())
    (tmp_path / "in.txt.gz").write_bytes(whole[:-9])
    with pytest.raises(errors.UserError, match=r"in\.txt\.gz is damaged"):
        predict(tiny_tuned[0], source=str(tmp_path / "in.txt.gz"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "name what to read: either --text"),
        ({"texts": ["a"], "source": "b.txt"}, "name what to read: either --text"),
        ({"source": "/none.txt"}, "cannot read /none.txt: No such file"),
        ({"texts": ["a"], "output": "a.doc"}, "--output=a.doc: want a name that ends"),
        ({"source": "a.tsv", "output": "./a.tsv"}, "is the input; name another file"),
    ],
)
def test_what_is_to_be_read_and_written_must_be_clear(arguments, said, tiny_tuned):
    with pytest.raises(errors.UserError) as caught:
        predict(tiny_tuned[0], **arguments)
    assert said in str(caught.value)
