"""SciPy, scikit-learn and River beside this library: the same inputs, the same results, seconds and ratios."""

import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from river import drift
from scipy import stats
from sklearn import metrics

warnings.simplefilter("ignore")
SIZE = 1_000_000


def write_inputs(folder):
    """A million values of each kind, and streams of 200,000."""
    random = np.random.default_rng(7)
    scores = random.random(SIZE)
    inputs = {
        "first": random.normal(size=SIZE),
        "second": random.normal(0.001, 1.0, size=SIZE),
        "scores": scores,
        "truth": (random.random(SIZE) < scores).astype(float),
        "values": random.normal(0.5, 0.1, size=200_000),
        "errors": (random.random(200_000) < 0.1).astype(float),
    }
    for name, values in inputs.items():
        (folder / name).write_bytes(values.astype("<f8").tobytes())
    return inputs


def least(work, runs=3):
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), float(result)


def drifts(make, values, convert=float):
    values = [convert(value) for value in values]

    def work():
        detector = make()
        found = 0
        for value in values:
            detector.update(value)
            found += detector.drift_detected
        return found

    return least(work, runs=2)


def psi(first, second):
    edges = np.unique(np.quantile(first, np.arange(1, 10) / 10))
    shares = [
        np.maximum(np.bincount(np.searchsorted(edges, x, side="right"), minlength=10) / x.size, 1e-4)
        for x in (first, second)
    ]
    return np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0]))


def peers(x):
    truth = x["truth"].astype(int)
    predicted = (x["scores"] > 0.5).astype(int)
    yield "ks", "SciPy", least(lambda: stats.ks_2samp(x["first"], x["second"]).statistic)
    yield "wasserstein", "SciPy", least(lambda: stats.wasserstein_distance(x["first"], x["second"]))
    yield "psi", "NumPy", least(lambda: psi(x["first"], x["second"]))
    yield "roc_auc", "scikit-learn", least(lambda: metrics.roc_auc_score(truth, x["scores"]))
    yield "log_loss", "scikit-learn", least(lambda: metrics.log_loss(truth, x["scores"]))
    yield "accuracy", "scikit-learn", least(lambda: metrics.accuracy_score(truth, predicted))
    yield "adwin_1", "River", drifts(lambda: drift.ADWIN(clock=1), x["values"])
    yield "adwin_32", "River", drifts(lambda: drift.ADWIN(clock=32), x["values"])
    yield "page_hinkley", "River", drifts(drift.PageHinkley, x["values"])
    yield "ddm", "River", drifts(drift.binary.DDM, x["errors"], int)
    yield "hddm_a", "River", drifts(drift.binary.HDDMA, x["errors"], int)
    yield "kswin", "River", drifts(lambda: drift.KSWIN(window_size=60), x["values"][:3_000])


# How many times as fast as the peer, or which part of the sort's time above it.
WANTED = {
    "roc_auc": 3, "adwin_1": 2, "adwin_32": 5, "page_hinkley": 20, "ddm": 20, "hddm_a": 50, "kswin": 20,
}
SORTS = {"ks": ("sort", 1.2), "wasserstein": ("sort", 1.2), "psi": ("sort_one", 1.2)}


def main():
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_inputs(Path(folder))
        command = ["cargo", "bench", "--quiet", "--bench", "peers", "--", "stats", folder]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        lines = (line.split("\t") for line in output.splitlines() if "\t" in line)
        ours = {name: (float(seconds), float(result)) for name, seconds, result in lines}
        print(f"{'':14}{'peer':14}{'peer ms':>10}{'ours ms':>10}{'ratio':>9}{'wanted':>9}  results")
        for name, peer, (seconds, result) in peers(inputs):
            own, own_result = ours[name]
            same = "same" if np.isclose(result, own_result, rtol=1e-9, atol=1e-12) else f"{result} and {own_result}"
            wanted = WANTED.get(name, "")
            print(f"{name:14}{peer:14}{seconds * 1e3:10.1f}{own * 1e3:10.2f}{seconds / own:9.1f}{wanted:>9}  {same}")
        print()
        for name, (sort, wanted) in SORTS.items():
            ratios = ours[name][0] / ours[sort][0], ours[name][0] / ours[f"{sort}_keys"][0]
            print(f"{name}: {ratios[0]:.2f} times the sort it needs ({ratios[1]:.2f} times that of the bits as integers), wanted {wanted}")
        for name, size in [("log_loss", 24), ("accuracy", 16)]:
            print(f"{name}: {size * SIZE / ours[name][0] / 1e9:.1f} GB/s, wanted at least 1")


if __name__ == "__main__":
    main()
