"""ELECTRA in TensorFlow and Keras 3: raw text becomes an encoder, the encoder a task.

The rooms, in the order of the data; each imports only what stands above it (BUILD). The
`__init__` of a room says what comes in, what goes out, and which modules it has.

errors        what a user can mend, in one line
registration  Keras finds our classes by their names
system        the terminal, signals, files that come whole to the disk
config        settings: type, default, unit, source, bounds
text          files -> documents -> tokens -> records on disk
batches       records -> packed, masked batches
network       ids -> states -> logits
objectives    batches -> losses and metrics
weights       networks <-> folders, ours and other people's
reports       what a run says
training      losses -> updates -> a run
datasets      files of tasks -> examples; metrics
serving       a model -> a SavedModel
tasks         the fine-tuning API, one file per task
kinds         kinds of tasks: all that the commands ask of one
finetuning    a whole run of fine-tuning, its evaluation, predictions
cleaning      odd text is found, dropped or marked
release       one kind of folder -> another
cli           the flags all commands share
build_data    text -> TFRecords
pretrain      TFRecords -> weights
report        workdirs -> report.html
convert       weights -> weights of another kind
finetune      preset + data -> task
evaluate      task + data -> metrics
predict       task + texts -> predictions
embed         texts -> vectors
search        texts -> the nearest of others
summarize     preset + texts -> some of their sentences
score         preset + texts -> how likely they are
rerank        preset + n-best lists -> the best of each
clean         preset + corpus -> less of it, and what was odd
export        task -> TensorFlow Serving
__main__      any of them by its name

What is handed over from one to the next stands in docs/architecture.md. This file
loads no library, so that a command pays only for what it uses; the classes of the
fine-tuning API are looked up when they are named, here or by Keras.
"""

import sys

__version__ = "0.1.0"

# Public classes, and the modules of `tasks` that have them.
CLASSES = {
    "ElectraBackbone": "backbone",
    "ElectraTokenizer": "tokenizer",
    "ElectraTextPreprocessor": "preprocessor",
    "ElectraTextClassifier": "text_classifier",
    "ElectraTextRegressor": "text_regressor",
    "ElectraTextEmbedder": "text_embedder",
    "ElectraTokenClassifier": "token_classifier",
    "ElectraQuestionAnswerer": "question_answerer",
    "ElectraMultipleChoice": "multiple_choice",
    "ElectraReplacedTokenDetector": "replaced_token_detector",
    "ElectraMaskedLM": "masked_lm",
    "ElectraScorer": "scorer",
    "ElectraSentenceClassifier": "sentence_classifier",
    "ElectraSummarizer": "summarizer",
    "ElectraSeq2Seq": "seq2seq",
    "ElectraSeq2SeqPreprocessor": "seq2seq_preprocessor",
}

# This process is to be a command: it hears signals before it imports anything.
if sys.argv[:1] == ["-m"] and any(
    word.split(".")[0] == "electra_tf" for word in sys.orig_argv
):
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Until then, no traceback either.
    from electra_tf.system import interrupts

    interrupts.start()


from electra_tf import registration  # noqa: E402 - after that

registration.start()


def __getattr__(name: str) -> object:
    if name not in CLASSES:
        raise AttributeError(f"module 'electra_tf' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"electra_tf.tasks.{CLASSES[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *CLASSES]
