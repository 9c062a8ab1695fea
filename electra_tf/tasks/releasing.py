"""A task with a decoder leaves the house: for transformers, for a server; and back.

In:   an `ElectraSeq2Seq`; a directory of an EncoderDecoderModel.
Out:  the names of its arrays there; a signature that writes; its decoder, filled.
"""

from typing import TYPE_CHECKING, Any

from electra_tf.serving import saved_model
from electra_tf.tasks import encoder_decoder, graph_writing
from electra_tf.weights import hugging_face, preset, weight_map

if TYPE_CHECKING:
    from keras_hub.models import Task as _OtherHalf
else:
    _OtherHalf = object


class Releasing(_OtherHalf):
    """The part of a task with a decoder that others load."""

    hugging_face_kind: str | None = hugging_face.PAIR
    # How a command says to write: an object with the options of `generate`.
    generation: Any = None

    # transformers' EncoderDecoderModel.

    @classmethod
    def found_in(cls, source: preset.Pretrained) -> dict[str, Any]:
        """Returns what the decoder of a directory is like."""
        from electra_tf.weights import hugging_face_pairs

        tensors = source.tensors["encoder"]  # type: ignore[attr-defined]
        model = source.networks["encoder"]
        count = hugging_face_pairs.count_blocks(tensors.shapes)
        origins = encoder_decoder.origins(model, count)
        shares = hugging_face_pairs.what_is_shared(model, tensors, origins)
        return {"decoder_layers": count, "shares": shares}

    def take_head(self, source: preset.Pretrained) -> None:
        """Copies the decoder of a directory."""
        from electra_tf.weights import hugging_face_pairs

        tensors = source.tensors["encoder"]  # type: ignore[attr-defined]
        rows = self.decoder_rows()
        hugging_face_pairs.refuse_leftovers(tensors.shapes, rows, source.folder)
        ours = {variable.path: variable for variable in self.weights}
        for row in rows:
            array = tensors.read(row.hugging_face)
            ours[row.ours].assign(array.T if row.transpose else array)

    def decoder_rows(self) -> list[weight_map.Row]:
        """Returns the names of the decoder's arrays, ours and transformers'."""
        from electra_tf.weights import hugging_face_pairs

        model, count = self.backbone.model_config, len(self.decoder_blocks)
        return hugging_face_pairs.decoder_rows(
            model, count, self.shares, encoder_decoder.origins(model, count)
        )

    def fits_hugging_face(self) -> bool:
        """Tells that transformers has such a decoder."""
        return True

    # A server.

    def signatures(self) -> dict[str, saved_model.Signature]:
        """Returns the way in which a server asks for texts: see `graph_writing`."""
        options = self.stated_generation()
        limit = options.pop("max_length", None)
        search = self.search(**options)
        return graph_writing.signatures(
            self,
            search,
            self._sampler_of(search),
            limit or self.preprocessor.decoder_sequence_length,
        )

    def stated_generation(self) -> dict[str, Any]:
        """Returns options of `generate` that a command has stated."""
        return self.generation.model_dump() if self.generation else {}

    def settled(self) -> dict[str, Any]:
        """Returns how it writes, for those who find an export."""
        return {"generation": stated} if (stated := self.stated_generation()) else {}
