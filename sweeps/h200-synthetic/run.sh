#!/usr/bin/env bash
# Show the design with times measured here, run, fit. From the root of the checkout, again after any interruption.
set -euo pipefail
scaling sweep design sweeps/h200-synthetic --slots 8
scaling sweep run sweeps/h200-synthetic --slots 8 --deadline "${DEADLINE:-25min}"
scaling sweep fit sweeps/h200-synthetic
