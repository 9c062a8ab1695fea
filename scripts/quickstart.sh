#!/usr/bin/env bash
# From a machine with only Python to a small ELECTRA of your own, in under ten minutes:
# environment, built-in corpus, vocabulary, TFRecords, pre-training, and a look at it.
# Run it again: what is there is used, and training goes on where it stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/environment.sh

make_environment requirements.txt
install_package

echo "1/2  Building the data: the documentation that comes with Python and its libraries"
.venv/bin/python -m electra_tf.build_data \
  --corpus=builtin --output=data/builtin --vocab_size=8192

echo "2/2  Pre-training on it (configs/debug.yaml)"
.venv/bin/python -m electra_tf.pretrain --config=configs/debug.yaml --workdir=runs/debug

cat <<'END'

Where everything lies:
  data/builtin/            vocab.txt, TFRecords, manifest.json
  runs/debug/report.html   curves, and held-out rows with the discriminator's verdicts
  runs/debug/metrics.jsonl the same numbers; or .venv/bin/tensorboard --logdir runs/debug
  runs/debug/preset/       generator and discriminator, ready to be used
Next: your own text (README.md), or the tests: scripts/test.sh
END
