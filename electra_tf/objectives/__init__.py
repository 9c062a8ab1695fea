"""What is learned: masked batches become losses and metrics.

In:   a masked batch, the settings.
Out:  networks; sums of losses with their counts; sums that metrics are made of.

objective   what an objective says of itself, and has to do
corruption  samples from the generator, and what they replace
checks      what an objective does, held to what it says
losses      sums and counts
mlm         a masked language model alone
electra     a generator fills in hidden tokens, a discriminator finds them
uniform     a discriminator of tokens drawn uniformly
registry    the objectives by their names, the user's own too
"""
