"""Ids become states, states become logits. This room does not know the data.

In:   rows of token ids, and who they belong to.
Out:  Keras functional models: encoder, generator, discriminator.

tracing    how blocks come into a graph: shared, inlined, in parts, made again
kernels    dropout, LayerNorm, GELU, attention, with gradients by hand
plain      the same in plain operations, to read and to test against
embedding  ids become embeddings
block      who sees whom; attention and feed-forward
heads      states become logits
models     encoder, generator, discriminator
decoder    the decoder's block and head
stepping   a decoder takes token after token, and keeps what is seen of each
two_tower  two causal encoders guess every token from all others
"""
