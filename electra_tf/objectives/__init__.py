"""What is learned: masked batches become losses and metrics.

In:   a masked batch, the settings.
Out:  networks; sums of losses with their counts; sums that metrics are made of.

objective         what an objective says of itself, and has to do
variants          the settings of all but ELECTRA and the masked language model
corruption        samples from the generator, and what they replace
places            the hidden positions of a row, or all
checks            what an objective does, held to what it says
losses            sums and counts
mlm               a masked language model alone
disentangled      a discriminator whose embeddings stand on the generator's
electra           a generator fills in hidden tokens, a discriminator finds them
uniform           a discriminator of tokens drawn uniformly
electra_15        ELECTRA that learns from the hidden positions alone
replace_mlm       a masked language model that reads samples
all_tokens_mlm    names or copies every token of a row with samples
frozen_generator  a discriminator beside a generator that learns no more
electra_tt        ELECTRA with a generator of two causal towers
electric          an energy for each token, learned from noise
adversarial       a generator that learns by REINFORCE to deceive
candidates        what stood at a position, and likely tokens beside it
teams             a discriminator that selects the original among them, too
corrective_lm     a discriminator that names what was replaced, too
registry          the objectives by their names, the user's own too
"""
