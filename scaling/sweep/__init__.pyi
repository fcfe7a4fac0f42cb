from scaling.sweep.design import Design as Design
from scaling.sweep.results import load_store_runs as load_store_runs
from scaling.sweep.run import Report as Report
from scaling.sweep.run import plan_sweep as plan_sweep
from scaling.sweep.run import run_sweep as run_sweep
from scaling.sweep.spec import SweepSpec as SweepSpec
from scaling.sweep.spec import load_sweep as load_sweep
from scaling.sweep.spec import sweep_from_dict as sweep_from_dict
from scaling.sweep.store import Store as Store

EXECUTORS: tuple[str, ...]
