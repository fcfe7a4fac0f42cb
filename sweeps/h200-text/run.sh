#!/usr/bin/env bash
# Collect the machine's text, prepare it, show the design with times measured here, run. From the root of the checkout.
# Run it again after any interruption: what is there is kept.
set -euo pipefail
corpus=data/cache/h200-text
if [ ! -e "$corpus/index.json" ]; then
    python sweeps/h200-text/collect.py "$corpus.jsonl"
    scaling corpus prepare "$corpus.jsonl" --vocab-size 8192 --out "$corpus"
fi
scaling sweep design sweeps/h200-text --slots 8
scaling sweep run sweeps/h200-text --slots 8 --deadline "${DEADLINE:-20min}"
