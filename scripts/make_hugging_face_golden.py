"""Makes tests/golden/hugging_face: small random models and what they compute.

    python scripts/make_hugging_face_golden.py tests/golden/hugging_face

Needs torch and transformers (and nothing of ours), so run it with a Python of its own;
the committed files were made with torch 2.13.0 and transformers 5.23.0 on a CPU. Each
folder is as `save_pretrained` leaves it. outputs.npz holds the inputs, once, and as
<folder>/hidden and <folder>/logits what transformers computed from them.
"""

import pathlib
import sys

import numpy as np
import torch
import transformers

SPECIAL = "[PAD] [UNK] [CLS] [SEP] [MASK]".split()
WORDS = "the cat dog sat ran mat on . ,".split()
VOCAB = [*SPECIAL, *WORDS, *"abcdefghimnost", *(f"##{c}" for c in "abdegnorsty")]

# All sizes differ, so that none can stand for another.
WIDE = {
    "vocab_size": len(VOCAB),
    "embedding_size": 10,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
}
# As a generator of its own: embeddings of the discriminator's width, an encoder not.
NARROW = WIDE | {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 32}


def labels(*names: str) -> dict:
    """Returns the settings that name a classifier's labels."""
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
    }


BERT = {name: size for name, size in WIDE.items() if name != "embedding_size"}

MODELS = {
    "encoder": ("ElectraModel", WIDE | {"embedding_size": 12}),
    "discriminator": ("ElectraForPreTraining", WIDE),
    "generator": ("ElectraForMaskedLM", NARROW),
    "approximate": ("ElectraForPreTraining", WIDE | {"hidden_act": "gelu_new"}),
    "sequence_classification": (
        "ElectraForSequenceClassification",
        WIDE | labels("bad", "middling", "good"),
    ),
    "token_classification": (
        "ElectraForTokenClassification",
        WIDE | labels("PER", "LOC", "ORG", "MISC", "O") | {"classifier_dropout": 0.3},
    ),
    "question_answering": ("ElectraForQuestionAnswering", WIDE),
    "multiple_choice": ("ElectraForMultipleChoice", WIDE),
    # With a pooler, and without the prefix that all others have.
    "bert": ("BertModel", BERT),
    "bert_pretraining": ("BertForPreTraining", BERT | {"hidden_act": "gelu_new"}),
    "bert_token_classification": (
        "BertForTokenClassification",
        BERT | labels("PER", "LOC", "O"),
    ),
}

SIGMA = 0.2  # Ten times what is usual, so that a wrong weight shows.


def main(folder: pathlib.Path) -> None:
    """Writes all models and outputs.npz."""
    inputs = make_inputs(np.random.default_rng(23))
    arrays = dict(inputs)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in VOCAB))
    for seed, (name, (architecture, values)) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        family = "Bert" if architecture.startswith("Bert") else "Electra"
        config = getattr(transformers, f"{family}Config")(**values)
        model = getattr(transformers, architecture)(config).eval()
        with torch.no_grad():
            for path, weight in model.named_parameters():
                weight.normal_(0, SIGMA)
                if path.endswith("LayerNorm.weight"):
                    weight.add_(1)
        model.save_pretrained(folder / name)
        for output, value in run(model, name, inputs).items():
            arrays[f"{name}/{output}"] = value.numpy()
    cased = {"do_lower_case": False, "tokenize_chinese_chars": False}
    for name, rules in {"discriminator": {}, "generator": cased}.items():
        tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"), **rules)
        tokenizer.save_pretrained(folder / name)
    np.savez_compressed(folder / "outputs.npz", **arrays)


def make_inputs(chance: np.random.Generator) -> dict[str, np.ndarray]:
    """Draws four rows of eleven tokens, of which the last are padding."""
    lengths = np.array([11, 7, 4, 9])
    real = np.arange(11) < lengths[:, None]
    ids = np.where(real, chance.integers(5, len(VOCAB), [4, 11]), 0)
    ids[:, 0] = VOCAB.index("[CLS]")
    second = real & (np.arange(11) >= lengths[:, None] // 2)
    return {
        "input_ids": ids.astype(np.int32),
        "attention_mask": real.astype(np.int32),
        "token_type_ids": second.astype(np.int32),
    }


def run(model: torch.nn.Module, name: str, inputs: dict) -> dict[str, torch.Tensor]:
    """Returns hidden states and, if there is a head, its logits."""
    fed = {key: torch.tensor(value).long() for key, value in inputs.items()}
    if name == "multiple_choice":
        # Two rows are the choices of one question.
        fed = {key: value.reshape(2, 2, -1) for key, value in fed.items()}
    with torch.no_grad():
        output = model(**fed, output_hidden_states=True)
    found = {"hidden": output.hidden_states[-1]}
    if name == "question_answering":
        found["logits"] = torch.stack([output.start_logits, output.end_logits], -1)
    elif "prediction_logits" in output:
        found["logits"] = output.prediction_logits
    elif "logits" in output:
        found["logits"] = output.logits
    return found


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
