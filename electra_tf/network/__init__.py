"""Ids become states, states become logits. This room does not know the data.

In:   rows of token ids, and who they belong to.
Out:  Keras functional models: encoder, generator, discriminator.

layers  embeddings, attention within an example, encoder block
models  encoder, generator, discriminator
"""
