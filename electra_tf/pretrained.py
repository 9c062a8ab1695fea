"""Opens weights to start from, whoever wrote them.

In:   a pre-training workdir, a preset, a Hugging Face directory, or a checkpoint of
      the 2020 code.
Out:  a `preset.Pretrained`.
"""

import os

from electra_tf import errors, google_checkpoint, hugging_face, preset


def open_pretrained(
    path: str, vocab_file: str | None = None, num_heads: int | None = None
) -> preset.Pretrained:
    """Opens what is at a path, without reading its weights.

    Args:
        path: a folder, or the prefix of a checkpoint.
        vocab_file: of a checkpoint that has no vocab.txt beside it.
        num_heads: of a checkpoint; None = 64 wide each.

    Raises:
        UserError: nothing is there, or nothing that this code reads.
    """
    for folder in (path, os.path.join(path, "preset")):
        if preset.is_preset(folder) or _has_weights_of_ours(folder):
            return preset.load(folder)
    if hugging_face.is_directory(path):
        return hugging_face.open_directory(path)
    if google_checkpoint.is_checkpoint(path):
        return google_checkpoint.open_checkpoint(path, vocab_file, num_heads)
    there = "nothing is there" if not os.path.exists(path) else "none of these"
    raise errors.UserError(
        f"{path}: {there}; want a workdir or preset of pre-training, a Hugging Face "
        "directory (config.json, model.safetensors), or a checkpoint of the 2020 code "
        "(model.ckpt-*.index)"
    )


def _has_weights_of_ours(folder: str) -> bool:
    """Tells whether a folder was a preset before its config.json was damaged."""
    return any(
        os.path.exists(os.path.join(folder, f"{name}.weights.h5"))
        for name in preset.BUILDERS
    )
