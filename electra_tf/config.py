"""Settings: type, default, unit, source and bounds, as frozen pydantic models.

In:   a YAML file that holds what makes a run this run, and --set section.field=value.
Out:  one checked, frozen settings object, or one line that says what is wrong.

Precedence: defaults, then the file, then --set from left to right. Here are those of
build_data and pretrain; those of tasks are in finetuning/task_config.
"""

import contextlib
import importlib
import math
import pkgutil
import re
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import pydantic
import yaml
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from electra_tf import errors
from electra_tf.system import reading

# A share of something: 0 to 1.
Rate = Annotated[float, Field(ge=0.0, le=1.0)]


def _holds_number(annotation: Any) -> bool:
    return annotation in (int, float) or any(
        _holds_number(part) for part in typing.get_args(annotation)
    )


class Settings(pydantic.BaseModel):
    """The base of every section: frozen, no unknown field, no NaN, no bool as int."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _refuse_bool_for_a_number(
        cls, value: Any, info: pydantic.ValidationInfo
    ) -> Any:
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and _holds_number(field.annotation):
            raise ValueError(f"want a number, got {str(value).lower()}")
        return value

    @classmethod
    def chosen_by(cls, values: Any) -> "type[Settings]":
        """Returns the class of the section that has those values."""
        return cls


class NamedSettings(Settings):
    """A section whose `name` decides which other settings it has.

    The name is one of KINDS, or my_package.my_module:MyClass: a class of the user's own
    whose attribute `Settings` is the class of its settings.
    """

    SECTION: ClassVar[str]  # where it stands in the settings of a run
    BASE: ClassVar[str]  # what a class of the user's own derives from
    KINDS: ClassVar[dict[str, "type[NamedSettings] | str"]]  # or where it is defined

    name: str

    @classmethod
    def kind(cls, name: str) -> "type[NamedSettings]":
        """Returns the class of the settings that one of KINDS stands for."""
        found: Any = cls.KINDS[name]
        return pkgutil.resolve_name(found) if isinstance(found, str) else found  # type: ignore[no-any-return]

    @classmethod
    def chosen_by(cls, values: Any) -> "type[Settings]":
        """Returns the class of the settings that the name stands for.

        Raises:
            UserError: there is nothing of that name.
        """
        usual = cls.model_fields["name"].default
        name = values.get("name", usual) if isinstance(values, dict) else usual
        if not isinstance(name, str):
            return cls  # Which refuses it.
        if name in cls.KINDS:
            return cls.kind(name)
        if ":" in name:
            kind: type[Settings] = cls.own_class(name).Settings
            return kind
        hint = errors.did_you_mean(name, cls.KINDS, "it is none of these")
        raise errors.UserError(
            f"{cls.SECTION}.name={name!r}: {hint} want one of {', '.join(cls.KINDS)}, "
            "or a class of your own, my_package.my_module:MyClass"
        )

    @classmethod
    def own_class(cls, name: str) -> Any:
        """Imports a class of the user's own, named my_package.my_module:MyClass.

        Raises:
            UserError: there is no such module or class, the import fails, or the class
                has no `Settings`.
        """
        where = f"{cls.SECTION}.name={name}"
        path, _, attribute = name.partition(":")
        try:
            module = importlib.import_module(path)
        except ModuleNotFoundError as error:
            raise errors.UserError(
                f"{where}: there is no module {error.name}; name one of this folder, "
                "or put its folder on PYTHONPATH"
            ) from None
        except Exception as error:
            raise errors.UserError(
                f"{where}: importing {path} fails: {type(error).__name__}: "
                f"{errors.one_line(error, 200)}; mend it"
            ) from None
        found = getattr(module, attribute, None)
        if found is None:
            known = [key for key, own in vars(module).items() if isinstance(own, type)]
            hint = errors.did_you_mean(attribute, known, "name a class that it defines")
            raise errors.UserError(f"{where}: {path} has no {attribute!r}; {hint}")
        kind = getattr(found, "Settings", None)
        if not (isinstance(kind, type) and issubclass(kind, cls)):
            raise errors.UserError(
                f"{where}: it has no class of settings; derive it from {cls.BASE}, and "
                f"its `Settings` from electra_tf.config.{cls.__name__}"
            )
        return found


class RunSettings(Settings):
    """The settings of a run that has a workdir; some come with the package, by name."""

    named_in: ClassVar[str]  # the folder of those, in configs/

    if typing.TYPE_CHECKING:
        train: Any  # Every run has that section; pydantic would put it before others.

    @property
    def seed(self) -> int:
        """What all chance of the run is made from."""
        return int(self.train.seed)

    @property
    def streams(self) -> Literal["auto"] | int:
        """Parts of a batch that are computed side by side."""
        return typing.cast(Literal["auto"] | int, self.train.streams)

    def with_streams(self, streams: int) -> Self:
        """Returns these settings with `train.streams` decided."""
        train = self.train.model_copy(update={"streams": streams})
        return self.model_copy(update={"train": train})


# No machine holds more: a configuration that asks for it is damaged.
MAX_WEIGHTS = 10**12


class AddedToken(Settings):
    """A token that is found in the text before it is cut, as `tokenizers` has it."""

    content: str = Field(min_length=1, description="The token, in the vocabulary.")
    single_word: bool = Field(False, description="Not found inside a word.")
    lstrip: bool = Field(False, description="Takes the space before it along.")
    rstrip: bool = Field(False, description="Takes the space after it along.")
    normalized: bool = Field(
        True, description="Looked for after the text is lower-cased and so on."
    )
    special: bool = Field(False, description="Left out where ids become text again.")
    is_word: bool = Field(False, description="WordPiece may produce it, too.")


class TokenizerConfig(Settings):
    """How text becomes WordPiece tokens; stored with the data and the preset."""

    lowercase: bool = Field(
        True, description="Lower-case before splitting (uncased models)."
    )
    strip_accents: bool = Field(
        None,
        validate_default=True,
        description="Drop combining marks after NFD; null is as lowercase (BERT's).",
    )
    split_cjk: bool = Field(
        True, description="Each CJK ideograph is a word of its own."
    )
    added_tokens: tuple[AddedToken, ...] = Field(
        (), description="Found in the text before it is cut, as transformers has them."
    )

    @pydantic.field_validator("strip_accents", mode="before")
    @classmethod
    def _follow_lowercase(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """What is stored states it, so that it means the same to every reader."""
        return info.data.get("lowercase", True) if value is None else value


class ModelConfig(Settings):
    """An encoder's architecture. Defaults: ELECTRA-small (paper, Table 6)."""

    vocab_size: PositiveInt = Field(
        30522,
        description="Tokens of the vocabulary. The data say it; if set, it must agree.",
    )
    embedding_size: PositiveInt = Field(
        128, description="Width of the embedding tables."
    )
    hidden_size: PositiveInt = Field(256, description="Width of the encoder.")
    num_layers: PositiveInt = Field(12, description="Encoder blocks.")
    num_heads: PositiveInt = Field(
        4, description="Attention heads; divides hidden_size."
    )
    intermediate_size: PositiveInt = Field(
        1024, description="Width of the feed-forward layer."
    )
    max_positions: PositiveInt = Field(512, description="Rows of the position table.")
    num_segments: PositiveInt = Field(
        2, description="Rows of the segment (token type) table."
    )
    activation: Literal["gelu", "gelu_approximate", "relu", "silu"] = Field(
        "gelu",
        description="gelu is the exact erf form (2020 code); KerasHub approximates it.",
    )
    hidden_dropout_rate: Rate = Field(
        0.1, description="Dropout after embeddings and sub-layers."
    )
    attention_dropout_rate: Rate = Field(0.1, description="Dropout of attention.")
    layer_norm_epsilon: PositiveFloat = Field(1e-12, description="As in the 2020 code.")
    initializer_range: PositiveFloat = Field(
        0.02, description="Sigma of the truncated normal, cut at 2 sigma (2020 code)."
    )
    position_initializer: Literal["normal", "sinusoidal"] = Field(
        "normal",
        description="What the position table starts from. sinusoidal: waves of that "
        "size, from which attention to neighbours is learnt sooner (D12).",
    )

    @pydantic.model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"num_heads ({self.num_heads}) must divide "
                f"hidden_size ({self.hidden_size})"
            )
        width, inner = self.hidden_size, self.intermediate_size
        rows = self.vocab_size + self.max_positions + self.num_segments
        count = self.num_layers * width * (4 * width + 2 * inner)
        if count + rows * self.embedding_size > MAX_WEIGHTS:
            raise ValueError(
                f"{self.num_layers:,} layers {width:,} wide, and tables of {rows:,} "
                f"rows, are more than {MAX_WEIGHTS:.0e} weights"
            )
        for name in ("hidden_dropout_rate", "attention_dropout_rate"):
            if getattr(self, name) >= 1.0:
                raise ValueError(f"{name} (1.0) must be below 1")
        return self


class GeneratorConfig(Settings):
    """The generator, relative to the discriminator (paper, 3.2)."""

    width_scale: PositiveFloat = Field(
        0.25,
        le=1.0,
        description="Its width over the discriminator's (paper: 1/4 small, 1/3 base).",
    )
    depth_scale: PositiveFloat = Field(
        1.0, le=1.0, description="Its blocks over the discriminator's (2020 code: 1)."
    )
    shares: Literal["embeddings", "disentangled", "nothing"] = Field(
        "embeddings",
        description="What generator and discriminator have in common: the embedding "
        "block (word, position, segment, LayerNorm); disentangled, word and position "
        "tables that the generator alone changes (DeBERTaV3's GDES); or nothing.",
    )
    architecture: ModelConfig | None = Field(
        None,
        description="All sizes of the generator, as found in train.init_from; null = "
        "by width_scale and depth_scale.",
    )

    def resolve(self, model: ModelConfig) -> ModelConfig:
        """Returns the generator's architecture by the 2020 code's rules.

        Width is scaled and rounded, heads are 64 wide, the feed-forward layer is four
        times the width. With its own embeddings, they are as wide as the encoder.
        """
        if self.architecture is not None:
            return self.architecture.model_copy(update={"vocab_size": model.vocab_size})
        hidden = max(1, round(model.hidden_size * self.width_scale))
        heads = max(1, hidden // 64)
        if hidden % heads:
            raise errors.UserError(
                f"generator.width_scale={self.width_scale} gives a generator {hidden} "
                f"wide, which {heads} heads do not divide; choose another width_scale"
            )
        return model.model_copy(
            update={
                "hidden_size": hidden,
                "num_heads": heads,
                "intermediate_size": 4 * hidden,
                "num_layers": max(1, round(model.num_layers * self.depth_scale)),
                "embedding_size": (
                    hidden if self.shares == "nothing" else model.embedding_size
                ),
            }
        )


class ObjectiveConfig(NamedSettings):
    """What is learned. Each objective has a class of its own, with its settings."""

    SECTION = "objective"
    BASE = "electra_tf.objectives.objective.Objective"
    KINDS: ClassVar[dict[str, type[NamedSettings] | str]] = {}

    name: str = Field(
        "electra",
        description="electra, mlm (a masked language model alone, BERT) or another of "
        "docs/objectives.md; or my_package.my_module:MyObjective, one of your own.",
    )


class SampledConfig(ObjectiveConfig):
    """What all objectives have whose generator fills in the hidden tokens."""

    mlm_weight: NonNegativeFloat = Field(
        1.0, description="Weight of the generator's loss."
    )
    temperature: PositiveFloat = Field(
        1.0, description="Divides the generator's logits before it samples."
    )
    disallow_correct: bool = Field(
        False, description="Never sample the original token (2020 code, an ablation)."
    )


class ElectraConfig(SampledConfig):
    """Replaced-token detection as in the paper."""

    rtd_weight: NonNegativeFloat = Field(
        50.0, description="Weight of the discriminator's loss (paper: lambda = 50)."
    )


class MlmConfig(ObjectiveConfig):
    """A masked language model alone."""

    mlm_weight: NonNegativeFloat = Field(1.0, description="Weight of its loss.")


ObjectiveConfig.KINDS.update(
    electra=ElectraConfig,
    mlm=MlmConfig,
    uniform="electra_tf.objectives.variants:UniformConfig",
    electra_15=ElectraConfig,
    replace_mlm="electra_tf.objectives.variants:ReplaceMlmConfig",
    all_tokens_mlm="electra_tf.objectives.variants:AllTokensMlmConfig",
    frozen_generator="electra_tf.objectives.variants:FrozenGeneratorConfig",
    electra_tt=ElectraConfig,
    electric="electra_tf.objectives.variants:ElectricConfig",
    adversarial="electra_tf.objectives.variants:AdversarialConfig",
    teams="electra_tf.objectives.variants:TeamsConfig",
    corrective_lm="electra_tf.objectives.variants:CorrectiveLmConfig",
)


class DataConfig(Settings):
    """From records to masked rows."""

    records: str = Field(
        "", description="Folder that build_data wrote, or 2020 TFRecords."
    )
    vocab: str | None = Field(
        None,
        description="vocab.txt for 2020 TFRecords, which have none; null = the data's.",
    )
    example_tokens: PositiveInt = Field(
        128, ge=5, description="S: most tokens in an example, [CLS] and [SEP] too."
    )
    row_tokens: PositiveInt = Field(
        128, ge=5, description="L: tokens in a row; a row holds one or more examples."
    )
    mask_rate: Rate = Field(0.15, description="Share of tokens hidden (large: 0.25).")
    mask_token_rate: Rate = Field(
        0.85,
        description="Share of the hidden tokens that show as [MASK]; the others keep "
        "their token (2020 code).",
    )
    whole_word_masking: bool = Field(
        False, description="Hide all tokens of a word or none."
    )
    single_segment_rate: Rate = Field(
        0.1, description="Share of examples with segment A alone (2020 code)."
    )
    short_example_rate: Rate = Field(
        0.05,
        description="Share of examples cut to a random shorter length (2020 code).",
    )
    shuffle_shards: PositiveInt = Field(
        8, description="Shards read in turn, to mix them."
    )
    block_rows: PositiveInt = Field(
        2048, description="About how many rows are packed, then shuffled, together."
    )

    @pydantic.model_validator(mode="after")
    def _an_example_fits_a_row(self) -> Self:
        if self.example_tokens > self.row_tokens:
            raise ValueError(
                f"example_tokens ({self.example_tokens}) must not exceed "
                f"row_tokens ({self.row_tokens})"
            )
        return self

    @property
    def max_predictions(self) -> int:
        """P: the most tokens a row hides, as in the 2020 code."""
        most = int((self.mask_rate + 0.005) * self.row_tokens)
        return min(max(1, most), self.row_tokens)


class TrainConfig(Settings):
    """How long and how fast to train. Defaults: ELECTRA-small."""

    steps: PositiveInt = Field(1_000_000, description="Optimizer updates.")
    batch_size: PositiveInt = Field(
        128, description="Rows per update, over all replicas."
    )
    accumulation_steps: PositiveInt = Field(
        1,
        description="Micro-batches per update; each holds batch_size / this many rows.",
    )
    learning_rate: PositiveFloat = Field(
        5e-4,
        description="Peak of the schedule. Small 5e-4, base and large 2e-4 (Table 6).",
    )
    warmup_steps: NonNegativeInt = Field(
        10_000, description="Updates of linear warm-up."
    )
    decay_power: PositiveFloat = Field(1.0, description="The decay to 0; 1 = linear.")
    decay_after_warmup: bool = Field(
        False, description="Begin it then (NVIDIA), not at once (2020 code)."
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32",
        description="Type of the arithmetic; weights are float32 always. GPUs before "
        "Ampere (T4, V100) have float16 alone.",
    )
    recompute: bool = Field(
        False,
        description="Keep only the input of each block and compute the rest again in "
        "the backward pass: less memory, more time (D22).",
    )
    xla: Literal["auto", "on", "off"] = Field(
        "auto", description="Compile the step. auto: on for GPU and TPU, off for CPU."
    )
    streams: Literal["auto"] | PositiveInt = Field(
        "auto",
        description="Parts of a micro-batch that are computed side by side: they add "
        "up in another order, and dropout is drawn for each. auto: as the run was "
        "begun; else 2 for a command on a CPU of one or two cores, else 1 (D48).",
    )
    steps_per_loop: PositiveInt = Field(
        20, description="Steps until Python looks again; logging may look sooner."
    )
    seed: NonNegativeInt = Field(
        42, description="Seed of weights, data order, masking, dropout."
    )
    init_from: str | None = Field(
        None,
        description="Weights to start from, with a new schedule: a workdir, preset, "
        "Hugging Face directory, or checkpoint of the 2020 code. They decide the "
        "architecture; what is stated must agree. null = random weights.",
    )
    init_vocab: Literal["same", "shared_tokens"] = Field(
        "same",
        description="same: the data's vocabulary must be that of init_from. "
        "shared_tokens: tokens in both keep their vectors, others start at random.",
    )

    @pydantic.model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) must be below steps ({self.steps})"
            )
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"accumulation_steps ({self.accumulation_steps}) must divide "
                f"batch_size ({self.batch_size})"
            )
        return self


class GroupConfig(Settings):
    """How the variables of one network learn, where it is not as the others do."""

    learning_rate_scale: PositiveFloat = Field(
        1.0, description="Factor on the learning rate, for this network."
    )
    weight_decay: NonNegativeFloat | None = Field(
        None, description="Decay for this network; null = optimizer.weight_decay."
    )
    clip_norm: PositiveFloat | None = Field(
        None,
        description="Largest norm of this network's gradients; null = "
        "optimizer.clip_norm.",
    )


class OptimizerConfig(NamedSettings):
    """What the settings of every optimizer have."""

    SECTION = "optimizer"
    BASE = "electra_tf.training.groups.GroupedOptimizer"
    KINDS: ClassVar[dict[str, type[NamedSettings] | str]] = {}

    name: str = Field(
        "adamw",
        description="Which optimizer learns: adamw; lamb, for very large batches; or "
        "my_package.my_module:MyOptimizer, a class of your own.",
    )
    weight_decay: NonNegativeFloat = Field(
        0.01, description="Decay of matrices; biases and LayerNorms have none."
    )
    clip_norm: PositiveFloat = Field(
        1.0, description="Largest norm of all gradients together, over all replicas."
    )
    networks: dict[str, GroupConfig] = Field(
        default={},
        description="Rate, decay and clipping by network, as in {generator: "
        "{learning_rate_scale: 0.5}}. Each network then has a gradient norm of its "
        "own; what two networks share belongs to the generator. {} = one norm.",
    )


class AdamWConfig(OptimizerConfig):
    """AdamW, as the 2020 code has it. Defaults: ELECTRA's, of all sizes."""

    beta_1: Rate = Field(0.9, description="Adam's first moment.")
    beta_2: Rate = Field(0.999, description="Adam's second moment.")
    epsilon: PositiveFloat = Field(
        1e-6, description="Added to the root of the second moment (2020 code)."
    )
    bias_correction: bool = Field(False, description="The 2020 code's AdamW has none.")


OptimizerConfig.KINDS.update(
    adamw=AdamWConfig, lamb="electra_tf.training.variants:LambConfig"
)


class RunConfig(Settings):
    """When to say, measure and save. Changing these never changes a number."""

    log_every_steps: PositiveInt = Field(
        100, description="Steps between two lines of progress."
    )
    evaluate_every_steps: PositiveInt = Field(
        1000, description="Steps between two evaluations on the validation shards."
    )
    evaluate_rows: PositiveInt = Field(2000, description="Validation rows at most.")
    save_every_steps: PositiveInt = Field(
        1000, description="Steps between two checkpoints."
    )
    keep: PositiveInt | None = Field(5, description="Checkpoints kept; null = all.")


class PretrainConfig(RunSettings):
    """All settings of `python -m electra_tf.pretrain`."""

    named_in: ClassVar[str] = ""

    model: ModelConfig = ModelConfig()
    generator: GeneratorConfig = GeneratorConfig()
    # It and `optimizer` are of the class that the name stands for, and dumped as such.
    objective: pydantic.SerializeAsAny[ObjectiveConfig] = ElectraConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    optimizer: pydantic.SerializeAsAny[OptimizerConfig] = AdamWConfig()
    run: RunConfig = RunConfig()

    @pydantic.field_validator("objective", "optimizer", mode="before")
    @classmethod
    def _choose_by_name(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        section: Any = cls.model_fields[info.field_name or ""].annotation
        return section.chosen_by(value).model_validate(value)

    @pydantic.model_validator(mode="after")
    def _examples_fit_the_position_table(self) -> Self:
        if self.data.example_tokens > self.model.max_positions:
            raise ValueError(
                f"data.example_tokens ({self.data.example_tokens}) exceeds the "
                f"position table, model.max_positions ({self.model.max_positions})"
            )
        self.generator.resolve(self.model)
        return self


class BuildDataConfig(Settings):
    """All settings of `python -m electra_tf.build_data`."""

    tokenizer: TokenizerConfig = TokenizerConfig()
    text_field: str = Field(
        "text", description="Field of JSON Lines and column of Parquet files."
    )
    max_json_bytes: PositiveInt = Field(
        1 << 28,
        description="Longest line of JSON Lines: unlike text, it is held in memory "
        "whole, several times over.",
    )
    document_per_file: bool = Field(
        False,
        description="A .txt file is one document; else a blank line ends a document.",
    )
    undecodable: Literal["refuse", "replace"] = Field(
        "refuse",
        description="Bytes that are not UTF-8: stop and say where, or count and "
        "replace by U+FFFD.",
    )
    segmented: bool = Field(
        False,
        description="Blanks mark the words of Chinese and the like, for "
        "data.whole_word_masking; tokens are the same.",
    )
    vocab_size: PositiveInt = Field(
        30522, ge=100, description="Tokens of the vocabulary, if it is trained."
    )
    vocab_train_bytes: PositiveInt = Field(
        200_000_000,
        description="Text to train the vocabulary on, sampled over the corpus.",
    )
    validation_rate: Rate = Field(0.01, description="Share of the tokens held out.")
    shard_tokens: PositiveInt = Field(
        4_000_000,
        description="A shard is closed when it holds this many tokens; min_shards of "
        "them are held in memory, about 2.2 bytes per token.",
    )
    min_shards: PositiveInt = Field(
        16, description="Training shards filled side by side: small data has as many."
    )
    processes: NonNegativeInt = Field(
        0, le=1024, description="Processes that tokenize; 0 = one per core."
    )
    seed: NonNegativeInt = Field(42, description="Seed of the split and the order.")


AnySettings = TypeVar("AnySettings", bound=Settings)


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers (5e-4, 1e6), true and false alone as bools, no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"setting {key!r} stands twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


# YAML 1.1 also reads on, off, yes and no as bools, which would eat `xla: off`.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":bool")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|false|False)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def load(
    kind: type[AnySettings], file: str | None = None, overrides: Sequence[str] = ()
) -> AnySettings:
    """Reads settings: defaults, then `file`, then `overrides` ("train.steps=10").

    Args:
        kind: of what command.
        file: a path; or, where there is none of that name, one of `named`.
        overrides: the last word.

    Raises:
        UserError: for a missing or malformed file, an unknown or misspelt setting, a
            value out of bounds, settings that contradict each other.
    """
    values = _read_yaml(_find(kind, file)) if file else {}
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals or not name:
            raise errors.UserError(f"--set {override}: want section.field=value")
        _set(values, name.strip().split("."), _parse(text, f"--set {override}"))
    sources = filter(None, [file, "--set" if overrides else None])
    return check(kind, values, " and ".join(sources) or "the settings")


def named(kind: type[Settings]) -> dict[str, Path]:
    """Returns the files of settings that come with the package, by their names."""
    if not issubclass(kind, RunSettings):
        return {}
    here = Path(__file__).parent
    # In a wheel they are in the package, in a checkout beside it.
    folders = [here / "configs", here.parent / "configs"]
    folder = next((path for path in folders if path.is_dir()), folders[0])
    return {p.stem: p for p in sorted((folder / kind.named_in).glob("*.yaml"))}


def _find(kind: type[Settings], file: str) -> Path:
    """Returns the path of a file, or of the settings of that name."""
    path, known = Path(file), named(kind)
    name = file.removeprefix("configs/").removeprefix("finetune/").removesuffix(".yaml")
    if path.exists():
        return path
    if name in known:
        return known[name]
    if path.suffix or not known:
        return path  # It will be said that there is none.
    hint = errors.did_you_mean(name, known, "none is like it;")
    raise errors.UserError(
        f"--config={file}: there is no such file; {hint} settings that can be named: "
        f"{', '.join(known)}"
    )


class UnknownSettingError(errors.UserError):
    """All that is wrong with the settings is that some are not known: `names`."""

    names: Sequence[str] = ()


def check(kind: type[AnySettings], values: Any, where: str) -> AnySettings:
    """Validates plain values (a dict from YAML or JSON) against `kind`.

    Raises:
        UserError: they are wrong; UnknownSettingError, if some are not known and the
            others right.
    """
    try:
        return kind.model_validate(values)
    except pydantic.ValidationError as error:
        said = f"{where}: {_explain(kind, values, error)}"
        items = error.errors(include_url=False)
        if {item["type"] for item in items} != {"extra_forbidden"}:
            raise errors.UserError(said) from None
        refusal = UnknownSettingError(said)
        refusal.names = [".".join(map(str, item["loc"])) for item in items]
        raise refusal from None


def dump(settings: Settings) -> str:
    """Returns the settings as YAML, every value stated."""
    return yaml.safe_dump(settings.model_dump(), sort_keys=False, allow_unicode=True)


def describe(settings: Settings, indent: int = 0) -> str:
    """Returns the settings as YAML with each field's description as a comment."""
    lines, plain = [], settings.model_dump()
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        pad = " " * indent
        if isinstance(value, Settings):
            lines += [f"{pad}{name}:", describe(value, indent + 2)]
            continue
        text = yaml.safe_dump(plain[name], default_flow_style=True, width=math.inf)
        text = text.removesuffix("...\n").strip()
        lines.append(f"{pad}{name}: {text}  # {field.description}")
    return "\n".join(lines)


def differences(
    old: Settings, new: Settings, prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Returns {"train.steps": (old, new)} for each setting in which the two differ.

    Of sections of two classes (another objective) the names differ, and what the new
    one states beside its defaults.
    """
    found: dict[str, tuple[Any, Any]] = {}
    if isinstance(old, NamedSettings) and type(old) is not type(new):
        now = getattr(new, "name", None)
        found[f"{prefix}name"] = (old.name, now)
        # Not checked: some settings have no default that is right.
        old = typing.cast(Any, type(new)).model_construct(name=now)
    before, after = old.model_dump(), new.model_dump()
    for name in type(old).model_fields:
        a, b = getattr(old, name), getattr(new, name)
        if isinstance(a, Settings) and isinstance(b, Settings):
            found |= differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found[f"{prefix}{name}"] = (before[name], after[name])
    return found


def _read_yaml(file: Path) -> dict[str, Any]:
    with reading.explained(f"settings {file}"):
        values = _parse(file.read_bytes(), str(file))
    if not isinstance(values, dict | None):
        raise errors.UserError(f"{file}: want sections of settings, got {values!r:.60}")
    return values or {}


def _parse(text: str | bytes, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise errors.UserError(
            f"{where} is not YAML: {errors.one_line(error)}"
        ) from None


def _set(values: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        below = values.setdefault(part, {})
        if not isinstance(below, dict):
            below = values[part] = {}
        values = below
    values[path[-1]] = value


def _explain(kind: type[Settings], values: Any, error: pydantic.ValidationError) -> str:
    messages, foreign = [], _of_other_kinds(kind, error)
    known = _names(kind, values)
    for item in error.errors(include_url=False, include_context=False):
        name = ".".join(str(part) for part in item["loc"])
        if name in foreign:
            continue
        if item["type"] == "extra_forbidden":
            messages.append(f"no setting {name}; {_nearest(name, known)}")
        elif item["type"] == "value_error":
            text = item["msg"].removeprefix("Value error, ")
            is_named = not name or text.startswith(f"{name}.")
            messages.append(text if is_named else f"{name}: {text}")
        else:
            text = item["msg"][0].lower() + item["msg"][1:]
            messages.append(f"{name}={item['input']!r:.60}: {text}")
    for section in dict.fromkeys(foreign.values()):
        wrong = [name.partition(".")[2] for name in foreign if foreign[name] is section]
        where = section.SECTION
        chosen = values[where].get("name", section.model_fields["name"].default)
        messages.append(
            f"{where}.name={chosen} has no {', '.join(wrong)}; it has "
            f"{', '.join(section.chosen_by(values[where]).model_fields)}; drop what it "
            f"has not, or all at once: --set {where}='{{name: {chosen}}}'"
        )
    return "; ".join(messages)


def _of_other_kinds(
    kind: type[Settings], error: pydantic.ValidationError
) -> dict[str, type[NamedSettings]]:
    """Returns settings that the chosen kind of a section has not, and another has."""
    found: dict[str, type[NamedSettings]] = {}
    for item in error.errors(include_url=False, include_context=False):
        where, *rest = (str(part) for part in item["loc"] or ("",))
        field = kind.model_fields.get(where)
        section: Any = field.annotation if field else None
        if item["type"] == "extra_forbidden" and hasattr(section, "KINDS"):
            theirs = {
                n for one in section.KINDS for n in section.kind(one).model_fields
            }
            found |= {f"{where}.{name}": section for name in rest if name in theirs}
    return found


def _nearest(name: str, known: list[str]) -> str:
    """Asks for the setting meant: of the same name in another section, or alike."""
    last = name.rpartition(".")[2]
    moved = [one for one in known if one.rpartition(".")[2] == last]
    if len(moved) == 1:
        return f"did you mean {moved[0]}?"
    return errors.did_you_mean(name, known, "--print_config lists them all")


def _names(kind: type[Settings], values: Any, prefix: str = "") -> list[str]:
    """Lists the settings that there are, in sections as `values` choose them."""
    names = []
    for name, field in kind.model_fields.items():
        names.append(prefix + name)
        part = values.get(name) if isinstance(values, dict) else None
        below: Any = field.annotation
        if isinstance(below, type) and issubclass(below, Settings):
            with contextlib.suppress(errors.UserError):  # That is said, too.
                below = below.chosen_by(part)
            names += _names(below, part, f"{prefix}{name}.")
        elif typing.get_origin(below) is dict and isinstance(part, dict):
            inner = typing.get_args(below)[1]  # Sections by names of the user's own.
            if isinstance(inner, type) and issubclass(inner, Settings):
                for key in part:
                    names += _names(inner, part[key], f"{prefix}{name}.{key}.")
    return names
