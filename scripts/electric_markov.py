"""Holds Electric's energies to what they estimate, on text whose chances are known.

python scripts/electric_markov.py --workdir=/tmp/markov

Letters are drawn from a Markov chain; so log p of a letter given all others of its text
is known from its neighbours. Electric is trained on such texts by the command's own
code, and the scores of texts that it has not seen are compared with the truth. In two
stages: at a temperature of 8 the noise is easy to tell, so that contexts are learned at
all; then, from those weights, at 1, which takes away the offset that easy noise leaves
(docs/decisions/D56).

Out:  the mean absolute error in nats; that of a score that is the same everywhere; the
      error by how likely a letter is. The exit code is 0 where the error is under 0.1.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import numpy.typing as npt

from electra_tf import config
from electra_tf.text import data_builder, vocabularies

LETTERS = "abcd"
LENGTH = 20  # letters of a text
NATS = 0.1  # The error is to stay below.

States = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Chain:
    """Each letter is drawn by the one before it; the first as any other would be."""

    def __init__(self, seed: int = 0) -> None:
        self.chance = np.random.default_rng(seed)
        size = len(LETTERS)
        self.step = self.chance.dirichlet([1.0] * size, size)  # [from, to]
        self.start = np.linalg.matrix_power(self.step, 100)[0]

    def draw(self, count: int) -> States:
        """Returns texts as states, [count, LENGTH]."""
        steps = np.concatenate([self.start[None], self.step]).cumsum(axis=1)
        states = np.full(count, -1)
        found = []
        for _ in range(LENGTH):
            noise = self.chance.random(count)[:, None]
            states = (steps[states + 1, :-1] < noise).sum(axis=1)
            found.append(states)
        return np.stack(found, axis=1)

    def log_conditionals(self, states: States) -> Floats:
        """Returns log p of each letter given all others of its text: [count, LENGTH].

        Only its neighbours matter: p(x | all others) is as p(left, x) p(x, right).
        """
        count, size = len(states), len(LETTERS)
        first = np.broadcast_to(self.start, [count, 1, size])
        before = np.concatenate([first, self.step[states[:, :-1]]], axis=1)
        last = np.ones([count, 1, size])
        after = np.concatenate([self.step.T[states[:, 1:]], last], axis=1)
        both = before * after  # [count, LENGTH, states]
        both /= both.sum(axis=-1, keepdims=True)
        found: Floats = np.take_along_axis(both, states[..., None], -1)[..., 0]
        return np.log(found)


def texts(states: States) -> list[str]:
    """Returns states as texts: letters with a space between."""
    return [" ".join(LETTERS[state] for state in row) for row in states]


STAGES = {
    "easy": ["objective.temperature=8", "train.steps=3000", "train.learning_rate=2e-3"],
    "run": ["train.init_from=easy", "train.steps=2000", "train.learning_rate=1e-3"],
}


def settings_of(
    folder: Path, stage: str, overrides: list[str]
) -> config.PretrainConfig:
    """Returns the settings of a stage.

    One of twenty letters is noise, so that the odds are those that the loss takes, and
    each row holds one text whole.
    """
    length = LENGTH + 2
    model = (
        "{embedding_size: 32, hidden_size: 64, num_layers: 2, num_heads: 4, "
        f"intermediate_size: 128, max_positions: {length}, hidden_dropout_rate: 0, "
        "attention_dropout_rate: 0, initializer_range: 0.1, "
        "position_initializer: sinusoidal}"
    )
    usual = [
        f"model={model}",
        "generator.width_scale=0.5",
        "objective={name: electric, rtd_weight: 50.0}",
        f"data.records={folder / 'data'}",
        f"data.example_tokens={length}",
        f"data.row_tokens={length}",
        "data.mask_rate=0.05",
        "data.short_example_rate=0.0",
        "data.single_segment_rate=1.0",
        "train.batch_size=256",
        "train.warmup_steps=200",
        "run.log_every_steps=200",
        "run.evaluate_every_steps=100000",
        "run.save_every_steps=100000",
    ]
    own = [one.replace("=easy", f"={folder / 'easy'}") for one in STAGES[stage]]
    return config.load(config.PretrainConfig, None, usual + own + overrides)


def build(folder: Path, chain: Chain, count: int) -> None:
    """Writes a vocabulary, a corpus and the records of so many texts, unless there."""
    if (folder / "data").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [*vocabularies.SPECIAL_TOKENS, *LETTERS]
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    corpus = "\n\n".join(texts(chain.draw(count))) + "\n"
    (folder / "corpus.txt").write_text(corpus, encoding="utf-8")
    data_builder.build(
        [str(folder / "corpus.txt")],
        str(folder / "data"),
        str(folder / "vocab.txt"),
        config.BuildDataConfig(min_shards=2, processes=1),
    )


def main() -> None:
    """Builds, trains unless there is a run, scores, compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", required=True, help="for data and run")
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--held_out", type=int, default=2000, help="texts")
    parser.add_argument(
        "--set", action="append", default=[], help="as of pretrain, for both stages"
    )
    arguments = parser.parse_args()
    folder = Path(arguments.workdir)
    build(folder, Chain(seed=0), arguments.texts)
    from electra_tf.tasks import scorer
    from electra_tf.training import run

    for stage in STAGES:
        settings = settings_of(folder, stage, arguments.set)
        run.run(settings, str(folder / stage))
    chain = Chain(seed=0)  # The same one; other texts of it.
    chain.chance = np.random.default_rng(1)
    states = chain.draw(arguments.held_out)
    model = scorer.ElectraScorer.from_preset(str(folder / "run"))
    scores = model.score(texts(states), batch_size=256)
    found = np.array([[token.score for token in one.tokens] for one in scores])
    true = chain.log_conditionals(states)
    error = np.abs(found - true)
    for low, high in ((-9, -3), (-3, -2), (-2, -1), (-1, -0.3), (-0.3, 0)):
        there = (true >= low) & (true < high)
        if there.any():
            print(
                f"log p {low} to {high}: {100 * there.mean():.1f} % of letters, error "
                f"{error[there].mean():.3f}, mean {(found - true)[there].mean():+.3f}"
            )
    constant = np.abs(true - np.median(true)).mean()
    print(f"mean absolute error {error.mean():.3f} nats; of a constant {constant:.3f}")
    sys.exit(int(error.mean() >= NATS))


if __name__ == "__main__":
    main()
