"""ELECTRA in TensorFlow and Keras 3: raw text becomes an encoder, the encoder a task.

The modules, in the order of the data; each imports only what stands above it (BUILD):

settings                       native_log, console, interrupts, errors, registration,
                               durable, checksums, config
text -> records                tokenizer, corpus_files, corpus, records, record_reader,
                               vocab_trainer, text_loss, data_builder
records -> masked batches      packing, masking, input_pipeline
masked batches -> losses       layers, models, corruption, losses, objectives
losses -> checkpoints          optimizer, pretrainer, distribution, checkpoint,
                               reporting, training_loop
presets, others' weights       model_card, preset, weight_map, google_checkpoint,
                               hugging_face, pretrained
the whole run                  duration, initialization, report_page, workdir,
                               pretraining
files -> examples; metrics     metrics, datasets/dataset, datasets/files,
                               datasets/literals, datasets/tables, datasets/glue,
                               datasets/squad, datasets/conll, datasets/tabular,
                               datasets/registry
served models                  stored_weights, saved_model
presets -> tasks               tasks/backbone, graph_tokenizer, tasks/tokenizer,
                               keras_hub_presets, tasks/columns, tasks/labels,
                               tasks/inputs, tasks/preprocessor, tasks/graph,
                               tasks/streams, tasks/graph_spans, tasks/heads,
                               tasks/task, tasks/label_sets,
                               tasks/text_classifier, tasks/text_regressor,
                               tasks/text_embedder, tasks/token_classifier,
                               tasks/replaced_token_detector, tasks/masked_lm,
                               tasks/question_answerer, tasks/multiple_choice,
                               tasks/catalog, converter
tasks -> fine-tuned models     answers, task_data, task_builder, task_trainer, trials,
                               evaluator, client, predictor, finetune_page,
                               finetuner, portable, exporter
commands                       cli, then build_data, pretrain, report, convert,
                               finetune, evaluate, predict, export, __main__

What is handed over from one to the next stands in docs/architecture.md. This file
loads no library, so that a command pays only for what it uses; the classes of the
fine-tuning API are looked up when they are named, here or by Keras.
"""

import sys

__version__ = "0.1.0"

_CLASSES = {
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
}

# This process is to be a command: it hears signals before it imports anything.
if sys.argv[:1] == ["-m"] and any(
    word.split(".")[0] == "electra_tf" for word in sys.orig_argv
):
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Until then, no traceback either.
    from electra_tf import interrupts

    interrupts.start()


from electra_tf import registration  # noqa: E402 - after that

registration.start()


def __getattr__(name: str) -> object:
    if name not in _CLASSES:
        raise AttributeError(f"module 'electra_tf' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"electra_tf.tasks.{_CLASSES[name]}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *_CLASSES]
