"""The settings of summaries.

In:   see `config`, which reads and checks them.
Out:  settings of the command summarize.
"""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from electra_tf import config


class SummaryDataConfig(config.Settings):
    """From files to documents."""

    options: dict[str, Any] = Field(
        default={},
        description="Names of columns, as in {text_column: review}; {quoted: true}: "
        "quotes are around cells.",
    )
    document: Literal["file", "blank_line", "line"] = Field(
        "file",
        description="What a document is in .txt and in text from stdin: all of it, "
        "what stands between blank lines, or a line.",
    )


class SummaryModelConfig(config.Settings):
    """From sentences to vectors. Defaults: measured (D61)."""

    sequence_length: PositiveInt | None = Field(
        None,
        ge=5,
        description="Most tokens in a row. null = 512, or the position table where "
        "that is shorter.",
    )
    pooling: Literal["mean", "max", "cls"] = Field(
        "max",
        description="What is made of the states of a sentence's tokens; cls: the state "
        "of the [CLS] before it.",
    )
    layer: int | None = Field(
        None,
        description="Whose states: 0 = the embeddings, 1 = the first block, ...; -1 = "
        "the last one. null = two thirds of the way up; what is above is not computed.",
    )
    context: bool = Field(
        False,
        description="Whether the sentences of a document that fit into a row see each "
        "other.",
    )


class SummaryConfig(config.Settings):
    """Which sentences, and what is told of them."""

    keep_first: bool = Field(
        True, description="Whether the first sentence is in every summary."
    )
    min_tokens: NonNegativeInt = Field(
        10, description="Shorter sentences, such as headings, are chosen last."
    )
    num_words: NonNegativeInt = Field(
        10, description="Words that are told of each group of sentences."
    )
    seed: NonNegativeInt = Field(42, description="Of k-means.")


class SummarizeConfig(config.Settings):
    """All settings of `python -m electra_tf.summarize`."""

    data: SummaryDataConfig = SummaryDataConfig()
    model: SummaryModelConfig = SummaryModelConfig()
    summary: SummaryConfig = SummaryConfig()
