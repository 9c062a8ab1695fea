"""The settings of cleaning a corpus.

In:   see `config`, which reads and checks them.
Out:  settings of the command clean.
"""

from typing import Literal, Self

import pydantic
from pydantic import Field, NonNegativeInt, PositiveInt

from electra_tf import config

# What each score is, by the name that `select.by` has for it.
SCORES = {
    "surprise": "nats a token that the network is surprised, on average",
    "replaced": "share of the tokens that a discriminator takes for replaced",
}


class ReadConfig(config.Settings):
    """From files to documents, as `build_data` reads them."""

    text_field: str = Field(
        "text", description="Field of JSON Lines and column of Parquet files."
    )
    document_per_file: bool = Field(
        False,
        description="A .txt file is one document; else a blank line ends a document.",
    )
    undecodable: Literal["refuse", "replace"] = Field(
        "refuse",
        description="Bytes that are not UTF-8: stop and say where, or replace by "
        "U+FFFD.",
    )


class ScoreConfig(config.Settings):
    """From lines to scores."""

    network: Literal["auto", "discriminator", "energy", "generator"] = Field(
        "auto",
        description="Who scores: energy (Electric) and discriminator in one pass; "
        "generator, or another masked language model, in `passes`. auto: the first of "
        "these, in this order, that the preset has.",
    )
    context: bool = Field(
        True,
        description="Whether a line is read with its document around it, or alone.",
    )
    passes: PositiveInt = Field(
        7,
        ge=2,
        description="Of a masked language model: every 7th token is hidden at a time, "
        "about as many as in training.",
    )
    batch_size: PositiveInt = Field(64, description="Rows at once.")
    sequence_length: PositiveInt | None = Field(
        None,
        ge=5,
        description="Most tokens in a row; longer text is read in windows. null = 128, "
        "or the position table where that is shorter.",
    )


class SelectConfig(config.Settings):
    """From scores to what is kept."""

    unit: Literal["line", "document"] = Field(
        "line", description="What is kept or dropped as a whole."
    )
    by: Literal["surprise", "replaced"] = Field(
        "surprise",
        description="Which score decides: "
        + "; ".join(f"{name}, {what}" for name, what in SCORES.items())
        + ".",
    )
    most: float | None = Field(
        None, ge=0, description="Greatest score that is kept, in the unit of `by`."
    )
    drop_rate: config.Rate | None = Field(
        None,
        description="Share of the lines, or documents, that are dropped, the oddest. "
        "null = 0.05, unless `most` is set.",
    )
    min_tokens: NonNegativeInt = Field(
        5,
        description="What has fewer tokens is too short to judge: it stays while "
        "anything of its document does.",
    )

    @pydantic.model_validator(mode="after")
    def _one_bound(self) -> Self:
        if self.most is not None and self.drop_rate is not None:
            raise ValueError(
                f"select.most={self.most} and select.drop_rate={self.drop_rate} "
                "contradict each other: set one of them"
            )
        return self

    @property
    def rate(self) -> float | None:
        """The share that is dropped; None where a bound decides."""
        if self.most is not None:
            return None
        return 0.05 if self.drop_rate is None else self.drop_rate


class WriteConfig(config.Settings):
    """What is written."""

    form: Literal["txt", "jsonl", "parquet"] = Field(
        "txt",
        description="Of the text that is kept: a line a sentence and a blank line "
        "after a document; or a document a row, in the field read.text_field.",
    )
    gzip: bool = Field(False, description="Whether .txt and .jsonl are compressed.")
    action: Literal["drop", "mark"] = Field(
        "drop",
        description="mark: all text is written to marked.jsonl, with the score of each "
        "line and whether it would be kept.",
    )
    shown: NonNegativeInt = Field(
        40, description="Lines from each end that the page shows."
    )


class CleanConfig(config.Settings):
    """All settings of `python -m electra_tf.clean`."""

    read: ReadConfig = ReadConfig()
    score: ScoreConfig = ScoreConfig()
    select: SelectConfig = SelectConfig()
    write: WriteConfig = WriteConfig()
