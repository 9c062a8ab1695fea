"""Times and measures summaries beside bert-extractive-summarizer, on the same weights.

    python scripts/bench_summaries.py --data=aclsum/dev.jsonl --preset=minilm \
        --peer_preset=minilm --peer_python=<python of an environment with
        bert-extractive-summarizer, torch, transformers<4.39> [--rounds=3]

Both are given the same documents and write three sentences of each, the first of them
kept. Turn about in one run, each in a process of its own that has loaded its model and
has summarized a document before; the time of a document is the median round's, by the
clock and of all CPUs, which others at work on the machine hardly change. ROUGE
(F1, stemmed) is of the summaries against those of people, beside the first sentences
and random ones. Both cut the text into sentences themselves.

In:   ACLSum's JSON lines: sentences by part, summaries by aspect.
Out:  a table of seconds a document and ROUGE, one line of JSON for each.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
NUM_SENTENCES = 3


def read(path, most):
    """Returns (sentences, summary) of each document."""
    rows = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    return [
        (
            [one for part in row["sentences"].values() for one in part],
            list(row["summary"].values()),
        )
        for row in rows[:most]
    ]


def ours(arguments):
    """Returns a function of texts: their summaries, as lists of sentences."""
    from electra_tf.system import cores

    cores.share_out()
    import electra_tf

    made = electra_tf.ElectraSummarizer.from_preset(arguments.preset)

    def run(texts):
        found = made.summarize(texts, num_sentences=NUM_SENTENCES)
        return [[one.text for one in summary.sentences] for summary in found]

    return run


def peer(arguments):
    """Returns the same of bert-extractive-summarizer."""
    from summarizer import Summarizer
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(arguments.peer_preset)
    model = AutoModel.from_pretrained(arguments.peer_preset, output_hidden_states=True)
    made = Summarizer(custom_model=model, custom_tokenizer=tokenizer)

    def run(texts):
        return [
            made(text, num_sentences=NUM_SENTENCES, return_as_list=True)
            for text in texts
        ]

    return run


def serve(arguments):
    """Answers each line of stdin, texts, with seconds, CPU seconds and summaries."""
    run = {"ours": ours, "peer": peer}[arguments.side](arguments)
    for line in sys.stdin:
        texts = json.loads(line)
        begun = time.perf_counter(), time.process_time()
        found = run(texts)
        took = time.perf_counter() - begun[0], time.process_time() - begun[1]
        sys.stdout.write(f"{json.dumps([*took, found])}\n")
        sys.stdout.flush()


class Side:
    """A process that summarizes."""

    def __init__(self, name, arguments):
        python = sys.executable if name == "ours" else arguments.peer_python
        command = [python, __file__, f"--side={name}", f"--preset={arguments.preset}"]
        command += [
            f"--data={arguments.data}",
            f"--peer_preset={arguments.peer_preset}",
        ]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, texts):
        """Returns seconds, CPU seconds and summaries."""
        self._process.stdin.write(f"{json.dumps(texts)}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("["):
                return json.loads(line)
        raise RuntimeError("the process ended; what it said stands above")

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def rouge(summaries, documents):
    """Returns the mean F1 of ROUGE, times 100."""
    from rouge_score import rouge_scorer

    names = ["rouge1", "rouge2", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(names, use_stemmer=True)
    found = [
        scorer.score("\n".join(right), "\n".join(said))
        for said, (_, right) in zip(summaries, documents, strict=True)
    ]
    means = {
        name: 100 * statistics.fmean(one[name].fmeasure for one in found)
        for name in names
    }
    return {name: round(value, 2) for name, value in means.items()}


def drawn(documents, seed):
    """Returns three sentences of each document, drawn by a seed."""
    chance = random.Random(seed)
    found = []
    for sentences, _ in documents:
        places = sorted(chance.sample(range(len(sentences)), NUM_SENTENCES))
        found.append([sentences[place] for place in places])
    return found


def main():
    """Measures, and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--peer_preset", required=True)
    parser.add_argument("--peer_python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=None)
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        serve(arguments)
        return
    documents = read(arguments.data, arguments.documents)
    texts = [" ".join(sentences) for sentences, _ in documents]

    def tell(name, summaries, **more):
        print(json.dumps({"what": name, **more, **rouge(summaries, documents)}))

    tell("first sentences", [sentences[:NUM_SENTENCES] for sentences, _ in documents])
    for seed in range(3):
        tell(f"random sentences, seed {seed}", drawn(documents, seed))
    sides = {name: Side(name, arguments) for name in ("ours", "peer")}
    for side in sides.values():
        side.ask(texts[:1])
    seconds = {name: [] for name in sides}
    summaries = {}
    for _ in range(arguments.rounds):
        for name, side in sides.items():
            *took, summaries[name] = side.ask(texts)
            seconds[name].append([one / len(texts) for one in took])
    for name, side in sides.items():
        wall, cpu = map(statistics.median, zip(*seconds[name], strict=True))
        tell(name, summaries[name], seconds=round(wall, 4), cpu_seconds=round(cpu, 4))
        side.close()
    pairs = zip(seconds["ours"], seconds["peer"], strict=True)
    rounds = [[round(b / a, 2) for a, b in zip(*pair, strict=True)] for pair in pairs]
    print(
        json.dumps({"what": "times as fast: by the clock, of CPUs", "rounds": rounds})
    )


if __name__ == "__main__":
    main()
