import html.parser
import json
import math
import re
import subprocess
import sys

import pytest

from electra_tf import config, errors
from electra_tf.reports import report_page, sample_rows

SHOWN = {
    "loss": {"title": "Total loss", "is_compared": True},
    "mlm_loss": {"title": "MLM loss (nats per hidden token)", "is_compared": True},
    "rtd_loss": {"title": "RTD loss (nats per token)", "is_compared": True},
    "mlm_accuracy": {"title": "MLM accuracy", "is_compared": True},
    "rtd_auc": {"title": "RTD AUC", "is_compared": True},
    "rtd_recall": {"title": "RTD recall", "is_compared": False},
}
ELECTRA = {"mlm_loss": 5.5, "rtd_loss": 0.375, "rtd_auc": 0.8125}
ROW = sample_rows.Row(
    tokens=["[CLS]", "<script>", "un", "##able", "film", "[SEP]"],
    hidden=[
        sample_rows.Hidden(position=1, original="<script>", sampled="<b>"),
        sample_rows.Hidden(position=4, original="film", sampled="film"),
    ],
    probability=[0.0, 0.9375, 0.625, 0.25, 0.125, 0.0],
)


class Page(html.parser.HTMLParser):
    """What a browser makes of a page: its elements and their text; all must close."""

    VOID = frozenset(["meta", "br"])
    UNCLOSED = frozenset(["li"])

    def __init__(self, source):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if self.open and self.open[-1][0] in self.UNCLOSED and tag in self.UNCLOSED:
            self.open.pop()
        element = (tag, dict(attributes), [])
        self.elements.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        if self.open[-1][0] in self.UNCLOSED and tag not in self.UNCLOSED:
            self.open.pop()
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, texts in self.open:
            texts.append(data)

    def find(self, tag, **wanted):
        return [
            (attributes, "".join(texts))
            for name, attributes, texts in self.elements
            if name == tag
            and all(attributes.get(key) == value for key, value in wanted.items())
        ]

    def texts(self, tag, **wanted):
        return [text for _, text in self.find(tag, **wanted)]

    def curves(self, title):
        """Returns {"run, split": points} of one chart."""
        for attributes, text in self.find("figure"):
            if text.startswith(title):
                series = json.loads(attributes["data-curves"])["series"]
                return {label: points for label, _, points in series}
        return {}


def samples_of(step, *rows, **told):
    words = {"filled_by": "the generator", "judged_by": "the judge", "judged": "odd"}
    return sample_rows.Samples(step=step, rows=list(rows), **{**words, **told})


def write_run(folder, values=ELECTRA, steps=(100, 200), rows=(ROW,), **files):
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"step": step, "split": split, "seconds": step / 2, **values})
        for step in steps
        for split in ("train", "validation")
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    if rows:
        sample_rows.write(str(folder / "samples.json"), samples_of(steps[-1], *rows))
    files = {"run_json": json.dumps({"values": SHOWN}), **files}
    for name, text in files.items():
        if text is not None:
            (folder / name.replace("_", ".")).write_text(text)
    return folder


def write_page(tmp_path, *folders):
    output = tmp_path / "page.html"
    report_page.write_report([str(folder) for folder in folders], str(output))
    source = output.read_text(encoding="utf-8")
    return source, Page(source)


def test_the_page_stands_alone(tmp_path):
    source, page = write_page(tmp_path, write_run(tmp_path / "run"))
    assert len(page.elements) > 100
    tags = {tag for tag, _, _ in page.elements}
    assert not tags & {"link", "img", "iframe", "object", "base"}
    attributes = {name for _, names, _ in page.elements for name in names}
    assert not attributes & {"src", "href", "srcset", "onclick", "onload"}
    assert not re.search(r"https?:|url\(|@import|fetch\(", source)


def test_everything_from_a_file_is_escaped(tmp_path):
    nasty = '"><script>alert(1)</script>'
    info = json.dumps({nasty: nasty, "commit": {nasty: [nasty]}})
    run = write_run(
        tmp_path / "<script>alert(2)",
        values={nasty: 1.0, **ELECTRA},
        run_json=info,
        config_yaml=json.dumps({nasty: nasty}),
    )
    _, page = write_page(tmp_path, run)
    assert len(page.find("script")) == 1
    assert page.texts("h1") == ["<script>alert(2)"]
    cells = page.texts("td") + page.texts("th")
    assert sum(nasty in cell for cell in cells) >= 6


def test_no_text_turns_the_page_around():
    assert report_page.escape("a\u202eb<\x1b") == r"a\u202eb&lt;\u001b"


def test_runs_are_overlaid_in_colours_of_their_own(tmp_path):
    runs = [write_run(tmp_path / name) for name in ("small", "base", "large")]
    _, page = write_page(tmp_path, *runs)
    curves = page.curves("MLM loss")
    assert list(curves) == [
        f"{name}, {split}"
        for name in ("small", "base", "large")
        for split in ("train", "validation")
    ]
    assert curves["base, train"] == [[100, 5.5], [200, 5.5]]
    drawn = {attributes["class"] for attributes, _ in page.find("g")}
    assert drawn == {f"{s} c{i}" for s in ("train", "validation") for i in range(3)}
    legend = page.find("ul", **{"class": "legend"})[0][1]
    assert legend == "smallbaselargetrainvalidation"


def test_runs_of_one_name_are_told_apart_by_their_path(tmp_path):
    runs = [write_run(tmp_path / name / "run") for name in ("a", "b")]
    _, page = write_page(tmp_path, *runs, runs[0])
    assert page.texts("h1") == [f"{runs[0]} and {runs[1]}"]


def test_an_mlm_run_has_no_curves_of_a_discriminator(tmp_path):
    rows = [ROW.model_copy(update={"probability": None})]
    run = write_run(tmp_path / "mlm", values={"mlm_loss": 5.5}, rows=rows)
    _, page = write_page(tmp_path, run)
    assert [title[:8] for title in page.texts("figcaption")] == ["MLM loss"]
    tokens = page.find("span", **{"class": "t"})
    assert [text for _, text in tokens] == ["un", "able"]
    assert all("style" not in attributes for attributes, _ in tokens)


def test_the_last_metrics_stand_in_a_table(tmp_path):
    run = write_run(tmp_path / "run", steps=(100, 300), values=ELECTRA)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(
            '{"step": 400, "split": "train", "mlm_loss": 4.25, "new": 12345.6}\n'
        )
    _, page = write_page(tmp_path, run)
    rows = page.texts("tr")
    assert "mlm_loss4.2505.500" in rows
    assert "new12,346" in rows
    assert "steps400" in rows


def test_what_is_not_finite_is_left_out_of_the_curves(tmp_path):
    run = write_run(tmp_path / "run")
    with (run / "metrics.jsonl").open("a") as file:
        for value in ("NaN", "null", '"text"', "true", "Infinity", "7"):
            file.write(f'{{"step": 300, "mlm_loss": {value}, "rtd_auc": NaN}}\n')
    _, page = write_page(tmp_path, run)
    points = [[100, 5.5], [200, 5.5], [300, 7.0]]
    assert page.curves("MLM loss")["run, train"] == points


def test_a_curve_of_one_point_is_a_dot(tmp_path):
    run = write_run(tmp_path / "run", steps=[100])
    _, page = write_page(tmp_path, run)
    assert len(page.find("figure")) == 3
    assert len(page.find("circle", r="2.5")) == 6


def test_a_long_run_is_thinned_but_keeps_its_spikes_and_its_ends():
    points = [(step, math.sin(step / 500)) for step in range(0, 100_000, 7)]
    points[5000] = (35_000, 99.0)
    points[6001] = (42_007, -99.0)
    thinned = report_page.thin(points)
    assert 400 < len(thinned) <= report_page.MAX_POINTS
    assert {points[0], points[5000], points[6001], points[-1]} <= set(thinned)
    assert thinned == sorted(set(thinned))
    assert set(thinned) <= set(points)


@pytest.mark.parametrize("length", [1, 2, 499, 500, 501, 502, 997, 998, 999, 1500])
def test_thinning_starts_above_the_limit(length):
    points = [(step, float(step % 3)) for step in range(length)]
    thinned = report_page.thin(points)
    assert len(thinned) <= report_page.MAX_POINTS
    assert (thinned == points) == (length <= report_page.MAX_POINTS)


def test_a_long_run_gives_a_page_that_is_no_larger(tmp_path):
    run = write_run(tmp_path / "run", steps=range(100, 1_000_001, 100))
    source, _ = write_page(tmp_path, run, write_run(tmp_path / "short"))
    assert len(source) < 300_000


@pytest.mark.parametrize(
    "bounds", [(0.0, 1.0), (5.69, 7.62), (-3e-7, 2e-6), (0, 1), (0, 2400), (99, 1e6)]
)
def test_ticks_are_a_few_round_numbers_within_the_bounds(bounds):
    ticks = report_page.ticks(*bounds)
    assert 2 <= len(ticks) <= 7
    assert bounds[0] <= ticks[0]
    assert ticks[-1] <= bounds[1] + 1e-9
    step = ticks[1] - ticks[0]
    assert f"{step:.6e}"[0] in "125"
    assert all(abs(tick / step - round(tick / step)) < 1e-6 for tick in ticks)


def test_settings_that_differ_come_first_and_all_are_there_folded(tmp_path):
    settings = config.load(config.PretrainConfig, None, ["train.steps=24321"])
    run = write_run(tmp_path / "run", config_yaml=config.dump(settings))
    _, page = write_page(tmp_path, run)
    (section,) = [
        text for text in page.texts("section") if text.startswith("\nSettings")
    ]
    different, _, everything = section.partition("All settings")
    assert "train.steps100000024321" in different
    assert "train.batch_size" not in different
    assert "train.batch_size128128" in everything
    folded = [text for text in page.texts("details") if "All settings" in text]
    assert len(folded) == 1


def test_held_out_rows_show_fills_guesses_and_verdicts(tmp_path):
    _, page = write_page(tmp_path, write_run(tmp_path / "run"))
    (text,) = page.texts("p", **{"class": "text"})
    assert text == "[CLS] <script> <b> unable film\u202f\u2713 [SEP]"
    told = {
        (attributes["style"], attributes["title"])
        for tag, attributes, _ in page.elements
        if tag in ("span", "bdi") and "title" in attributes
    }
    assert told == {
        ("--p:0.000", "[CLS]; p(odd) 0.000"),
        ("--p:0.938", "was <script>; the generator put <b>; p(odd) 0.938"),
        ("--p:0.625", "un; p(odd) 0.625"),
        ("--p:0.250", "##able; p(odd) 0.250"),
        ("--p:0.125", "was film; guessed right by the generator; p(odd) 0.125"),
        ("--p:0.000", "[SEP]; p(odd) 0.000"),
    }
    assert page.texts("p", **{"class": "count"}) == [
        "Row 1: 2 hidden, 1 of them guessed right by the generator; the judge "
        "flags 1 of 1 replaced and 1 of 5 other tokens"
    ]
    assert page.texts("pre") == ["\n".join(sample_rows.lines(samples_of(200, ROW)))]


def test_a_run_says_itself_how_its_values_and_rows_are_told(tmp_path):
    values = {"energy": 1.0, "energy_loss": 2.5, "unheard_of": 3.0}
    shown = {
        "energy_loss": {"title": "Energy loss (nats per token)", "is_compared": True},
        "energy": {"title": "Mean <energy>", "is_compared": False},
    }
    info = json.dumps({"values": shown})
    run = write_run(tmp_path / "run", values=values, run_json=info)
    told = samples_of(7, ROW, filled_by="both towers", judged_by="", judged="")
    sample_rows.write(str(run / "samples.json"), told)
    other = write_run(tmp_path / "other", values={"mlm_loss": 1.0})
    _, page = write_page(tmp_path, run, other)
    assert [title for title in page.texts("figcaption") if title] == [
        "Energy loss (nats per token)",
        "Mean <energy>",
        "unheard_of",
        "MLM loss (nats per hidden token)",
    ]
    heads = page.texts("th")
    assert "energy_loss, train" in heads
    assert "energy, train" not in heads
    assert "values" not in heads
    (key, _) = page.texts("p", **{"class": "samples-key"})
    assert "what both towers put" in key
    assert "Background" not in key
    assert any(
        "was <script>; both towers put <b>" in a["title"] for a, _ in page.find("bdi")
    )


@pytest.mark.parametrize("values", [None, 3, [1], {"mlm_loss": 5}, {"mlm_loss": {}}])
def test_values_that_a_run_does_not_explain_have_their_names(tmp_path, values):
    info = json.dumps({"values": values})
    _, page = write_page(tmp_path, write_run(tmp_path / "run", run_json=info))
    assert page.texts("figcaption") == ["mlm_loss", "rtd_loss", "rtd_auc"]


def test_runs_that_explain_nothing_are_compared_by_all_they_have(tmp_path):
    runs = [write_run(tmp_path / name, run_json=None) for name in ("a", "b")]
    _, page = write_page(tmp_path, *runs)
    assert {"mlm_loss, train", "rtd_auc, validation"} <= {*page.texts("th")}
    # One that explains them is heard, wherever it stands.
    _, page = write_page(tmp_path, *runs, write_run(tmp_path / "c"))
    assert "RTD AUC" in page.texts("figcaption")
    assert "rtd_auc" not in page.texts("figcaption")


def test_a_report_needs_neither_tensorflow_nor_keras():
    code = "import electra_tf.reports.report_page, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "electra_tf.reports.report_page" in loaded
    assert not {"tensorflow", "keras"} & {*loaded}


def test_what_is_no_text_does_not_decide_the_direction_of_a_row(tmp_path):
    arabic = ["[CLS]", "\u0643\u0627\u0646", "\u0641\u064a", "[SEP]"]
    hidden = [sample_rows.Hidden(position=1, original=arabic[1], sampled="the")]
    row = sample_rows.Row(tokens=arabic, hidden=hidden, probability=None)
    _, page = write_page(tmp_path, write_run(tmp_path / "run", rows=[row]))
    assert page.find("p", **{"class": "text", "dir": "auto"})
    isolated = page.texts("bdi")
    assert isolated == ["[CLS]", f"{arabic[1]} the", "[SEP]"]


def test_a_workdir_without_metrics_is_refused_by_name(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        with pytest.raises(errors.UserError, match=f"{name}/metrics.jsonl"):
            write_page(tmp_path, write_run(tmp_path / "run"), tmp_path / name)
    (tmp_path / "empty" / "metrics.jsonl").write_text("\n{\n")
    with pytest.raises(
        errors.UserError, match=r"empty/metrics\.jsonl holds no records"
    ):
        write_page(tmp_path, tmp_path / "empty")


def test_what_is_missing_or_broken_is_noted_on_the_page(tmp_path):
    bare = write_run(tmp_path / "bare", rows=(), run_json=None)
    broken = write_run(tmp_path / "torn", run_json="{", config_yaml="- a\n- b: [")
    (broken / "samples.json").write_text("{}")
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "sp\nnull\n{"step": "8"}')
    _, page = write_page(tmp_path, bare, broken)
    notes = page.texts("p", **{"class": "note"})
    assert [note[:28] for note in notes] == [
        "bare: no run.json: No such f",
        "bare: no config.yaml: No suc",
        "bare: no held-out rows: cann",
        "torn: metrics.jsonl: broken ",
        "torn: run.json is broken and",
        "torn: config.yaml is broken ",
        "torn: no held-out rows: " + str(tmp_path)[:4],
    ]
    assert notes[3].endswith("skipped: 3")
    assert not [text for text in page.texts("h2") if text.startswith(("Held", "Sett"))]


def test_of_later_sessions_the_page_says_when(tmp_path):
    sessions = [{"date": f"2026-11-0{day}", "commit": "abc"} for day in (1, 2, 3)]
    run = write_run(tmp_path / "run", run_json=json.dumps({"sessions": sessions}))
    _, page = write_page(tmp_path, run)
    cells = page.texts("td")
    assert "2026-11-02, 2026-11-03" in cells
    assert not any("abc" in cell for cell in cells)


def test_a_page_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    run = write_run(tmp_path / "run")
    output = run / "metrics.jsonl" / "page.html"
    with pytest.raises(errors.UserError, match=r"cannot write .*page\.html"):
        report_page.write_report([str(run)], str(output))


# Comparing runs.


def write_kind(folder, name, rate, seed, loss, steps=(100, 200)):
    values = config.PretrainConfig(train={"learning_rate": rate, "seed": seed})
    settings = values.model_dump(mode="json")
    write_run(
        folder / name,
        {"mlm_loss": loss},
        steps,
        **{"config.yaml": json.dumps(settings)},
    )
    return str(folder / name)


@pytest.fixture
def kinds(tmp_path):
    """Three seeds of one kind, a run of another."""
    return [
        write_kind(tmp_path, "a1", 1e-3, 1, 2.0),
        write_kind(tmp_path, "b", 5e-4, 1, 9.0),
        write_kind(tmp_path, "a2", 1e-3, 2, 4.0, steps=(100, 200, 300)),
        write_kind(tmp_path, "a3", 1e-3, 3, 6.0),
    ]


def render(folders, tmp_path):
    report_page.write_report(folders, str(tmp_path / "all.html"))
    return (tmp_path / "all.html").read_text("utf-8")


def test_runs_that_differ_by_the_seed_alone_are_one_row(kinds, tmp_path):
    source = render(kinds, tmp_path)
    table = source[source.index("<h2>Comparison") : source.index("<h2>Last metrics")]
    heads, several, single = re.findall("<tr>(.*?)</tr>", table)
    assert re.findall("<th>(.*?)</th>", heads) == [
        "",
        "train.learning_rate",
        "step",
        "mlm_loss, train",
        "mlm_loss, validation",
    ]
    mean = "4.000 \u00b1 2"
    assert re.findall("<td>(.*?)</td>", several) == ["0.001", "200", mean, mean]
    assert "a1 (seeds 1, 2, 3)" in several
    assert re.findall("<td>(.*?)</td>", single)[:3] == ["0.0005", "200", "9.000"]


def test_seeds_are_one_curve_within_a_band(kinds, tmp_path):
    source = render(kinds, tmp_path)
    curves = Page(source).curves("MLM loss")
    assert curves["a1 (seeds 1, 2, 3), train"] == [[100, 4], [200, 4]]
    assert curves["b, validation"] == [[100, 9], [200, 9]]
    assert len(curves) == 4
    bands = re.findall('<polygon class="band" points="(.*?)"', source)
    assert [len(band.split()) for band in bands] == [4, 4]  # train, validation
    (upper, lower) = (float(bands[0].split()[at].split(",")[1]) for at in (0, 3))
    assert lower - upper > 20
    alone = render(kinds[:2], tmp_path)
    assert "<polygon" not in alone


def test_seeds_that_share_no_step_keep_their_curves(tmp_path):
    folders = [
        write_kind(tmp_path, "a", 1e-3, 1, 2.0, steps=(10, 20)),
        write_kind(tmp_path, "b", 1e-3, 2, 3.0, steps=(15, 25)),
    ]
    curves = Page(render(folders, tmp_path)).curves("MLM loss")
    assert {"a, train", "b, train"} <= curves.keys()


def test_one_run_is_compared_with_none(kinds, tmp_path):
    assert "<h2>Comparison" not in render(kinds[:1], tmp_path)


def test_workdirs_are_named_by_lists_and_patterns(kinds, tmp_path):
    (tmp_path / "a,b").mkdir()
    (tmp_path / "empty").mkdir()
    said = []

    def find(names):
        return report_page.find_workdirs(names, said.append)

    assert find([f"{kinds[0]},{kinds[1]}"]) == kinds[:2]
    assert find([f"{tmp_path}/a?", kinds[1]]) == [kinds[0], *kinds[2:], kinds[1]]
    assert said == []
    assert find([f"{tmp_path}/*"]) == sorted(kinds)
    left_out = f"{tmp_path}/a,b, {tmp_path}/empty"
    assert said == [f"note: left out, for want of metrics.jsonl: {left_out}"]
    assert find([f"{tmp_path}/a,b"]) == [f"{tmp_path}/a,b"]
    with pytest.raises(errors.UserError, match=r"x\*: no folder of this pattern holds"):
        find([f"{tmp_path}/x*"])


def test_labels_of_axes_lie_within_the_drawing(tmp_path):
    """Letters are at most 7 units wide, at 12 pixels a letter."""
    texts = []
    for number, (value, last) in enumerate([(2.5e-5, 600), (3.0, 1_250_000)]):
        folder = tmp_path / str(number)
        write_run(folder, {"mlm_loss": value}, (last // 2, last))
        texts += Page(render([str(folder)], tmp_path)).find("text")
    assert {"600", "2.5e-05", "1M"} <= {text for _, text in texts}
    for attributes, text in texts:
        at, width = float(attributes["x"]), 7 * len(text)
        left = at - width if attributes["class"] == "y" else at - width / 2
        right = at if attributes["class"] == "y" else at + width / 2
        assert left >= 0, text
        assert right <= report_page.WIDTH, text
