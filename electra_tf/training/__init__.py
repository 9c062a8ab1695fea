"""Losses become updates, updates become a run: where data and model meet.

In:   the settings of a run, a data folder, weights to start from or none.
Out:  a workdir: checkpoints, metrics, report, preset.

variants        the settings of all optimizers but AdamW
groups          who learns at which rate, decays, is clipped with whom
half            which devices have half precision; float16's loss scale
lamb            steps as long as the tensor that they change, for large batches
optimizer       the schedule, the 2020 AdamW, every optimizer by its name
train_step      a batch -> an update, summed over replicas
cluster         several machines: TF_CONFIG -> workers that have met
distribution    CPU, GPUs, TPU or a cluster -> a strategy
checkpoint      save, keep, resume
loop            the one loop
duration        how long a run will take on this machine
initialization  starts a run from weights that are there
workdir         the folder of a run: made, resumed or refused
run             the whole run of pre-training
"""
