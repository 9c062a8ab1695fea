import collections
import itertools
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import bench_clean
import electric_markov
import numpy as np
import pytest
import swapped_words

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def write_run(folder, records):
    folder.mkdir()
    lines = [json.dumps(record) for record in records]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def compare(first, second, *flags):
    return subprocess.run(
        [sys.executable, SCRIPTS / "compare_losses.py", first, second, *flags],
        capture_output=True,
        text=True,
        check=False,
    )


def record(step, mlm, split="train", **others):
    return {"step": step, "split": split, "mlm_loss": mlm, **others}


def test_runs_with_the_same_losses_do_not_part(tmp_path):
    first = write_run(tmp_path / "a", [record(3, 7.0, seconds=1.0), record(6, 5.0)])
    second = write_run(
        tmp_path / "b", [record(3, 7.0, seconds=9.0), record(6, 5.00001)]
    )
    process = compare(first, second)
    assert process.returncode == 0, process.stdout
    assert "0 of 2 losses part" in process.stdout


@pytest.mark.parametrize("other", [5.1, float("nan"), float("inf")])
def test_runs_whose_losses_part_exit_1_and_say_where(other, tmp_path):
    first = write_run(tmp_path / "a", [record(3, 7.0), record(6, 5.0)])
    second = write_run(tmp_path / "b", [record(3, 7.0), record(6, other)])
    process = compare(first, second)
    assert process.returncode == 1
    marked = [line for line in process.stdout.splitlines() if "apart" in line]
    assert [line.split()[1] for line in marked] == ["6"]


def test_the_tolerance_is_relative(tmp_path):
    first = write_run(tmp_path / "a", [record(3, 1000.0)])
    second = write_run(tmp_path / "b", [record(3, 1001.0)])
    assert compare(first, second, "--tolerance=1e-2").returncode == 0
    assert compare(first, second, "--tolerance=1e-4").returncode == 1


def test_training_is_not_compared_with_validation(tmp_path):
    first = write_run(tmp_path / "a", [record(3, 7.0)])
    second = write_run(tmp_path / "b", [record(3, 7.0, split="validation")])
    process = compare(first, second)
    assert process.returncode == 1
    assert process.stderr == "error: the two runs logged no loss at a step they share\n"


def test_a_run_without_metrics_is_named(tmp_path):
    first = write_run(tmp_path / "a", [record(3, 7.0)])
    process = compare(first, tmp_path)
    assert process.returncode == 1
    assert process.stderr == (
        f"error: {tmp_path / 'metrics.jsonl'}: No such file or directory\n"
    )


# A machine with the tools that scripts/environment.sh needs, and Pythons of our making.
TOOLS = ["bash", "dirname", "cat", "mkdir", "cmp", "cp", "rm"]


@pytest.fixture
def machine(tmp_path):
    """A fresh clone on a bare machine; returns what runs scripts/test.sh there."""
    shutil.copytree(SCRIPTS, tmp_path / "clone/scripts")
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))

    def run(pythons, *arguments):
        for name, script in pythons.items():
            file = programs / name
            file.write_text(f"#!{programs}/bash\n{script}\n")
            file.chmod(0o755)
        return subprocess.run(
            [programs / "bash", "scripts/test.sh", *arguments],
            cwd=tmp_path / "clone",
            env={"PATH": str(programs)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def made(machine, tmp_path):
    """The same where the environment is made; returns what is run there, in order."""
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-lowest.txt"):
        (tmp_path / "clone" / name).touch()
    for venv in (".venv", ".venv-lowest"):
        programs = tmp_path / "clone" / venv / "bin"
        programs.mkdir(parents=True)
        for name in ("python", "ruff", "mypy"):
            said = f'[[ "$*" == *pip* ]] || echo "{venv} {name} $*"'
            (programs / name).write_text(f"#!{tmp_path}/bin/bash\n{said}\n")
            (programs / name).chmod(0o755)

    def run(*arguments):
        process = machine({}, *arguments)
        assert process.returncode == 0, process.stderr
        lines = process.stdout.splitlines()
        return [line for line in lines if not line.startswith("Installing ")]

    return run


ALL = "-n 2 --dist loadscope --no-loadscope-reorder"


def test_all_tests_run_after_the_linters(made):
    *linters, tests = made()
    assert [line.split()[1] for line in linters] == ["ruff", "ruff", "mypy"]
    assert tests == f".venv python -m pytest -m not slow and not parity {ALL}"
    *linters, tests = made("--slow")
    assert len(linters) == 3
    assert tests == f".venv python -m pytest -m not parity {ALL}"


def test_tests_that_are_named_run_at_once(made):
    pytest_ = ".venv python -m pytest -m"
    assert made("tests/a.py", "-k", "b c") == [
        f"{pytest_} not slow and not parity tests/a.py -k b c"
    ]
    assert made("--slow", "tests/a.py") == [f"{pytest_} not parity tests/a.py"]


def test_the_lowest_versions_have_an_environment_of_their_own(made):
    tests = ".venv-lowest python -m pytest -m not slow and not parity"
    assert made("--lowest") == [f"{tests} {ALL}"]
    assert made("--lowest", "tests/a.py") == [f"{tests} tests/a.py"]


def test_a_machine_without_python_is_told_which_to_install(machine):
    process = machine({})
    assert process.returncode == 1
    assert process.stderr == (
        "error: TensorFlow 2.21 needs Python 3.11, 3.12 or 3.13, found none: "
        "install one of them\n"
    )


def test_a_python_that_is_too_new_is_named(machine):
    process = machine({"python3": '[[ "$1" == --version ]] && echo Python 3.14.0'})
    assert process.returncode == 1
    assert "found Python 3.14.0" in process.stderr


def test_a_python_without_venv_is_told_how_to_get_it(machine):
    process = machine({"python3": '[[ "$2" != *ensurepip* ]]'})
    assert process.returncode == 1
    assert "apt-get install python3-venv" in process.stderr


def test_a_second_python_is_taken_where_the_first_does_not_fit(machine):
    fit = '[[ "$1" != --version ]] || echo Python 3.12.9'
    process = machine({"python3": "exit 1", "python3.12": fit})
    assert process.stdout.startswith("Making .venv with Python 3.12.9\n")


def test_swapped_sentences_have_the_same_words_in_another_order():
    chance = random.Random(3)
    text = (
        "It was, as they say, a fine film.<br /><br />Short one. So the the end of it!"
    )
    sentences = swapped_words.cut(text)
    assert sentences == ["It was, as they say, a fine film.", "So the the end of it!"]
    for adjacent in (False, True):
        for sentence in sentences:
            found = swapped_words.swap(sentence, chance, adjacent)
            before, after = sentence.split(), found.split()
            moved = [
                i
                for i, pair in enumerate(zip(before, after, strict=True))
                if len({*pair}) > 1
            ]
            assert sorted(before) == sorted(after)
            assert len(moved) == 2
            assert moved[1] - moved[0] == 1 or not adjacent
            assert all(before[i].isalpha() for i in moved)
    assert swapped_words.swap("the The 7 8 9 10", chance, False) is None


@pytest.mark.slow
def test_energies_come_within_a_tenth_of_a_nat_of_the_truth(tmp_path):
    """Takes a quarter of an hour: it trains in both stages."""
    script = [sys.executable, "scripts/electric_markov.py", f"--workdir={tmp_path}"]
    found = subprocess.run(
        script,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-500:] + found.stderr[-500:]
    assert "mean absolute error 0.0" in found.stdout


def test_the_conditionals_of_a_chain_are_those_of_all_its_texts():
    """By hand: every letter in a place, each text weighed by its chance."""
    chain = electric_markov.Chain(seed=3)
    (states,) = chain.draw(1)

    def chance(states):
        steps = itertools.pairwise(states)
        return chain.start[states[0]] * np.prod([chain.step[a, b] for a, b in steps])

    for place, found in enumerate(chain.log_conditionals(states[None])[0]):
        others = np.repeat(states[None], len(electric_markov.LETTERS), axis=0)
        others[:, place] = range(len(electric_markov.LETTERS))
        want = chance(states) / sum(map(chance, others))
        assert found == pytest.approx(np.log(want))
    rates = np.bincount(chain.draw(20_000).ravel(), minlength=4) / 20_000 / 20
    np.testing.assert_allclose(rates, chain.start, atol=0.01)


def test_the_n_gram_model_is_interpolated_kneser_ney():
    texts = ["a b c", "a b d", "b c a b", "d d"]
    model = bench_clean.NGrams([text.split() for text in texts])
    framed = [["<s>", "<s>", *text.split(), "</s>"] for text in texts]
    grams = [
        collections.Counter(
            tuple(text[at - size : at + 1])
            for text in framed
            for at in range(2, len(text))
        )
        for size in range(3)
    ]
    # Lower orders count the words before; discounts are n1 / (n1 + 2 n2).
    three = grams[2]
    two = collections.Counter(gram[1:] for gram in three)
    one = collections.Counter(gram[1:] for gram in two)

    def discount(counts):
        once, twice = (sum(n == k for n in counts.values()) for k in (1, 2))
        return once / (once + 2 * twice)

    def probability(counts, gram, lower):
        after = {g: n for g, n in counts.items() if g[:-1] == gram[:-1]}
        if not after:
            return lower
        total, off = sum(after.values()), discount(counts)
        return (max(counts[gram] - off, 0) + off * len(after) * lower) / total

    words = ["<unk>", "</s>", "a", "b", "c", "d"]
    for context in (("a", "b"), ("<s>", "<s>"), ("c", "d"), ("<unk>", "<unk>")):
        found = []
        for word in words:
            lower = probability(one, (word,), 1 / len(words))
            lower = probability(two, (context[1], word), lower)
            right = probability(three, (*context, word), lower)
            ids = np.array([model.ids[each] for each in (*context, word)])
            found.append(model.probabilities(ids)[0])
            assert found[-1] == pytest.approx(right, abs=1e-12)
        assert sum(found) == pytest.approx(1)
    assert model.surprise("c d a") > model.surprise("a b c")
    assert model.rarity("c") > model.rarity("b")


def test_a_line_in_eight_is_damaged_and_the_others_are_as_they_were():
    lines = [f"this is number {at} of the lines of a text ." for at in range(20)]
    kinds = bench_clean.damages(lambda: "word", ["a line of another text it is"], ["x"])
    chance = random.Random(3)
    made = [bench_clean.damage(lines, kinds, chance) for _ in range(40)]
    seen = {kind for one in made for kind in one.kinds}
    assert seen == {None, *kinds}
    for one in made:
        changed = [a != b for a, b in zip(lines, one.lines, strict=True)]
        assert changed == [kind is not None for kind in one.kinds]
        assert 2 <= sum(changed) <= 3
    words = lines[0].split()
    swapped = bench_clean.swapped(lines[0], chance).split()
    assert sorted(swapped) == sorted(words)
    assert swapped != words
    slipped = bench_clean.slips(lines[0], chance)
    assert sum(a != b for a, b in zip(lines[0], slipped, strict=True)) in {1, 2, 3}


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    bad, clean = np.array([3.0, 1.0, 2.0]), np.array([0.0, 2.0, 2.5, 1.5])
    pairs = [(a > b) + 0.5 * (a == b) for a in bad for b in clean]
    assert bench_clean.area(bad, clean)[0] == pytest.approx(np.mean(pairs))
    assert bench_clean.area(bad, bad - 9)[0] == 1
