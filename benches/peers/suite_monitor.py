"""Evidently's drift report beside this library's: the same rows, CPU seconds, the most memory, and how often unchanged columns are called drifted."""

import os

os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})

import multiprocessing
import resource
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

ROWS, COLUMNS = 100_000, 20
# Unchanged pairs of samples: each column of each is one.
PAIRS, REFERENCE, CURRENT = 20, 1_000, 100

METHODS = [("its choice", {}), ("PSI", {"num_method": "psi"}), ("KS", {"num_method": "ks"})]


def frame(values):
    import pandas

    return pandas.DataFrame(values, columns=[f"x{k}" for k in range(COLUMNS)])


def report(reference, current, method):
    warnings.simplefilter("ignore")
    from evidently import Report
    from evidently.presets import DataDriftPreset

    found = Report([DataDriftPreset(**method)]).run(current, reference).dict()
    return int(found["metrics"][0]["value"]["count"])


def timed(arguments):
    """In a process of its own, for its memory: the first report also loads what Evidently loads once, so the second is timed."""
    folder, method = arguments
    rows = {name: np.fromfile(folder / name, "<f8").reshape(-1, COLUMNS) for name in ("large_reference", "large_current")}
    reference, current = frame(rows["large_reference"]), frame(rows["large_current"])
    report(reference, current, method)
    start = time.process_time()
    drifted = report(reference, current, method)
    seconds = time.process_time() - start
    return seconds, drifted, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alarms(arguments):
    folder, method = arguments
    reference = np.fromfile(folder / "small_reference", "<f8").reshape(PAIRS, REFERENCE, COLUMNS)
    current = np.fromfile(folder / "small_current", "<f8").reshape(PAIRS, CURRENT, COLUMNS)
    return sum(report(frame(before), frame(after), method) for before, after in zip(reference, current))


def main():
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, rows in [
            ("large_reference", ROWS),
            ("large_current", ROWS),
            ("small_reference", PAIRS * REFERENCE),
            ("small_current", PAIRS * CURRENT),
        ]:
            rng.normal(size=(rows, COLUMNS)).astype("<f8").tofile(folder / file)
        command = ["cargo", "bench", "--quiet", "--bench", "peers", "--", "monitor", name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        lines = (line.split("\t") for line in output.splitlines() if "\t" in line)
        ours = {name: (float(seconds), float(result)) for name, seconds, result in lines}
        unchanged = PAIRS * COLUMNS
        print(f"drift of {ROWS:,} x {COLUMNS} unchanged columns; false alarms among {unchanged} of {REFERENCE:,} and {CURRENT} rows")
        print(f"{'':24}{'CPU s':>8}{'ratio':>8}{'MB':>8}{'drifted':>9}{'false alarms':>15}")
        own, drifted = ours["report"]
        print(f"{'ours':24}{own:8.3f}{1:8.1f}{ours['memory'][1]:8.0f}{drifted:9.0f}{ours['alarms'][1] / unchanged:15.1%}")
        print(f"{'ours, uncorrected':24}{'':33}{ours['alarms, uncorrected'][1] / unchanged:15.1%}")
        context = multiprocessing.get_context("spawn")
        for method, settings in METHODS:
            with context.Pool(1) as pool:
                seconds, drifted, memory = pool.apply(timed, ((folder, settings),))
                share = pool.apply(alarms, ((folder, settings),)) / unchanged
            print(f"{'Evidently, ' + method:24}{seconds:8.3f}{seconds / own:8.1f}{memory:8.0f}{drifted:9}{share:15.1%}")


if __name__ == "__main__":
    main()
