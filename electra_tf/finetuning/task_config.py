"""The settings of fine-tuning, and of what is done with a task afterwards.

In:   see `config`, which reads and checks them.
Out:  settings of the commands finetune, evaluate, predict, score, rerank and export.
"""

from typing import Any, ClassVar, Literal, Self

import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from electra_tf import config


class FinetuneDataConfig(config.Settings):
    """From files of a task to its examples."""

    options: dict[str, Any] = Field(
        default={},
        description="What the task's reader is told: names of columns and files, as in "
        "{text_column: review, train: mine.csv}. With several tasks, by task.",
    )
    max_train_examples: PositiveInt | None = Field(
        None, description="Examples of each task, drawn at random; null = all."
    )
    max_eval_examples: PositiveInt | None = Field(
        None, description="The first examples of each dev and test split; null = all."
    )
    dev_rate: config.Rate = Field(
        0.1,
        description="Share of the train split held out where there is no dev split.",
    )
    double_unordered: bool = Field(
        True,
        description="Train on pairs both ways round where their order does not matter: "
        "MRPC, STS-B (2020 code).",
    )
    mixing_power: NonNegativeFloat = Field(
        1.0,
        description="With several tasks, a task's share of the batches grows as its "
        "size ** mixing_power. 1: all examples alike (2020 code). 0: all tasks alike.",
    )


class FinetuneModelConfig(config.Settings):
    """From a text to rows, and the head. Defaults: the 2020 code."""

    sequence_length: PositiveInt | None = Field(
        None,
        ge=5,
        description="Most tokens in a row, [CLS] and [SEP] included; rows are as long "
        "as their texts. null = 512, or the position table where that is shorter (2020 "
        "code: 128, 512 for questions).",
    )
    target_length: PositiveInt | None = Field(
        None,
        ge=3,
        description="Most tokens of a text that is written, or learned to be written, "
        "[CLS] and [SEP] included (seq2seq). null = 128, or the position table where "
        "that is shorter.",
    )
    truncate: Literal["round_robin", "waterfall"] = Field(
        "round_robin",
        description="Which text of a pair is cut: the longer one, or the second.",
    )
    long_texts: Literal["truncate", "windows"] = Field(
        "truncate", description="Cut a long text, or read it in windows and average."
    )
    stride: PositiveInt | None = Field(
        None,
        description="Tokens from window to window. null = half a row, questions 128.",
    )
    options: dict[str, Any] = Field(
        default={},
        description="Other arguments of the task's class, as in {dropout: 0.2, head: "
        "linear}. With several tasks, by task.",
    )


class FinetuneTrainConfig(config.Settings):
    """How to train. Defaults: the paper's (appendix B)."""

    epochs: PositiveInt | None = Field(
        None,
        description="Passes over the data. null = 3; RTE and STS-B 10, questions 2, "
        "seq2seq 10.",
    )
    batch_size: PositiveInt = Field(
        32, description="Rows per update, over all replicas."
    )
    learning_rate: PositiveFloat | None = Field(
        None,
        description="Peak of the schedule. null = by the encoder's width: small 3e-4, "
        "base 1e-4, large 5e-5.",
    )
    layer_decay: PositiveFloat | None = Field(
        None,
        le=1.0,
        description="Rate of a block over that of the block above it. null = 0.8, "
        "large 0.9.",
    )
    warmup_rate: config.Rate = Field(0.1, description="Share of the updates.")
    weight_decay: NonNegativeFloat = Field(0.0, description="2020 code: 0.01.")
    keep_epoch: Literal["last", "best"] = Field(
        "last",
        description="Whose weights a trial ends with; best: by the main metric on dev.",
    )
    patience: PositiveInt | None = Field(
        None,
        description="Epochs without a better one to stop after (keep_epoch: best).",
    )
    trials: PositiveInt = Field(
        1, description="Runs with seeds from `seed` on; the preset is the best one's."
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32",
        description="Type of the arithmetic, in predict and evaluate too; weights are "
        "float32 always. GPUs before Ampere (T4, V100) have float16 alone.",
    )
    streams: Literal["auto"] | PositiveInt = Field(
        "auto",
        description="Parts of a batch that are computed side by side: they add "
        "up in another order, and dropout is drawn for each. auto: as the run was "
        "begun; else 2 for a command on a CPU of one or two cores, else 1 (D48).",
    )
    deterministic: bool = Field(
        False, description="Repeat to the last bit on a GPU, too. Slower."
    )
    seed: NonNegativeInt = Field(
        42, description="Seed of the first trial: head, data order, dropout."
    )

    @pydantic.model_validator(mode="after")
    def _patience_is_with_the_best_epoch(self) -> Self:
        if self.patience and self.keep_epoch != "best":
            raise ValueError(f"patience={self.patience} needs keep_epoch: best")
        return self


class GenerateConfig(config.Settings):
    """How texts are written: translations, summaries (seq2seq)."""

    num_beams: PositiveInt = Field(
        1, description="Answers that are kept in view; 1 = the likeliest token always."
    )
    num_best: PositiveInt | None = Field(
        None, description="So many answers are given, with their scores; null = one."
    )
    max_length: PositiveInt | None = Field(
        None,
        ge=3,
        description="Most tokens of an answer, [CLS] and [SEP] included. null = "
        "model.target_length.",
    )
    min_length: NonNegativeInt = Field(0, description="Least tokens, counted alike.")
    length_penalty: float = Field(
        1.0,
        description="Scores of beams are log-probabilities over length ** this: more "
        "favours long answers.",
    )
    no_repeat_ngram_size: NonNegativeInt = Field(
        0, description="No run of so many tokens comes twice; 3 suits summaries."
    )


class FinetuneRunConfig(config.Settings):
    """What to say and show. Changing these never changes a number."""

    log_points: PositiveInt = Field(
        40, description="Points on a trial's curve of the loss."
    )
    mistakes: NonNegativeInt = Field(
        25, description="How many mistakes report.html shows, the most confident first."
    )


class FinetuneConfig(config.RunSettings):
    """All settings of `python -m electra_tf.finetune`."""

    named_in: ClassVar[str] = "finetune"

    data: FinetuneDataConfig = FinetuneDataConfig()
    model: FinetuneModelConfig = FinetuneModelConfig()
    train: FinetuneTrainConfig = FinetuneTrainConfig()
    generate: GenerateConfig = GenerateConfig()
    run: FinetuneRunConfig = FinetuneRunConfig()


class ReadConfig(config.Settings):
    """How a file is read."""

    options: dict[str, Any] = Field(
        default={},
        description="Names of columns, as in {text_column: review}; {quoted: true}: "
        "quotes are around cells.",
    )


class ScorerConfig(config.Settings):
    """How texts are scored."""

    way: Literal["energy", "masking", "replaced"] | None = Field(
        None,
        description="energy: by Electric's energies, in one pass. masking: by a "
        "generator or masked language model, which guesses each token where it is "
        "hidden. replaced: how sure a discriminator is that nothing was replaced. "
        "null = the first of energy and masking that the preset can.",
    )
    hide: Literal["token", "word_l2r"] = Field(
        "token",
        description="What masking hides: the token, or with it the later pieces of "
        "its word (Kauf and Ivanova 2023).",
    )
    tokens: bool = Field(
        True, description="Whether a text's answer lists its tokens and their scores."
    )
    batch_size: PositiveInt = Field(
        32, description="Rows at once; in the way masking, each token makes a row."
    )
    sequence_length: PositiveInt | None = Field(
        None,
        ge=5,
        description="Most tokens in a row; longer texts are read in windows. null = "
        "512, or the position table where that is shorter.",
    )
    stride: PositiveInt | None = Field(
        None, description="Tokens from window to window. null = half a row."
    )


class ScoreConfig(config.Settings):
    """All settings of `python -m electra_tf.score`."""

    data: ReadConfig = ReadConfig()
    score: ScorerConfig = ScorerConfig()

    def of_prediction(self, server: str | None = None) -> FinetuneConfig:
        """Returns the same as `predict` takes it.

        Args:
            server: that is asked instead of a preset, which has its way already.
        """
        stated = self.score.model_dump(include={"sequence_length", "stride"})
        model: dict[str, Any] = {k: v for k, v in stated.items() if v is not None}
        if not server or self.score.model_fields_set & {"way", "hide"}:
            model["options"] = self.score.model_dump(include={"way", "hide"})
        return FinetuneConfig(
            data=FinetuneDataConfig(options=self.data.options),
            model=FinetuneModelConfig(**model),
            train=FinetuneTrainConfig(batch_size=self.score.batch_size),
        )


class RerankingConfig(config.Settings):
    """How the best is chosen: by score + weight * the scorer's + bonus * tokens."""

    metric: Literal["wer", "cer", "exact", "bleu"] = Field(
        "wer",
        description="What the weight is chosen by, on dev: the error rate of words or "
        "of characters, the rate of lists whose best is the reference, or BLEU.",
    )
    bleu_tokenizer: str = Field(
        "13a", description="sacrebleu's, as in its --tokenize: zh for Chinese."
    )
    length: bool = Field(
        False, description="Whether a bonus for each token is chosen, too."
    )
    costs: bool = Field(
        False, description="The scores in the file are costs: the lowest is the best."
    )


class RerankConfig(ScoreConfig):
    """All settings of `python -m electra_tf.rerank`."""

    rerank: RerankingConfig = RerankingConfig()


class ExportOutputConfig(config.Settings):
    """What an export writes."""

    format: Literal["saved_model", "tflite", "onnx"] = Field(
        "saved_model",
        description="saved_model takes text, for TensorFlow Serving; the others ids. "
        "onnx needs tf2onnx.",
    )
    weights: Literal["float32", "float16", "bfloat16", "int8"] = Field(
        "float32",
        description="Type in the files; a SavedModel unpacks them on loading. int8 has "
        "one scale per row or column. tflite has no bfloat16, onnx only float32.",
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32",
        description="Type of the arithmetic of a SavedModel, which its device must "
        "have; only where format is saved_model.",
    )
    fixed_length: bool = Field(
        False,
        description="Rows are model.sequence_length long always: static shapes, for "
        "accelerators.",
    )

    @pydantic.model_validator(mode="after")
    def _others_compute_in_float32(self) -> Self:
        if self.precision != "float32" and self.format != "saved_model":
            raise ValueError(
                f"precision={self.precision} needs format: saved_model; {self.format} "
                "computes in float32"
            )
        return self


class ExportConfig(config.Settings):
    """All settings of `python -m electra_tf.export`."""

    model: FinetuneModelConfig = FinetuneModelConfig()
    generate: GenerateConfig = GenerateConfig()
    export: ExportOutputConfig = ExportOutputConfig()
