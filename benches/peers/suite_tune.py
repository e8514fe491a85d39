"""Optuna, Rustuna and pycma beside this library's samplers: the same functions, the same 60 seeds, raw best values compared.

Values after 100 and 200 trials go through two-sided Mann-Whitney tests. What decides is their p after Holm's correction over all rows of a
peer: below 0.05 a row is better or WORSE, and a single WORSE one makes the exit code 1. What a peer reached is kept in
target/peers/tune.csv, since it takes the best part of an hour: remove the file to run the peers again.
"""

import os

os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})

import csv
import math
import subprocess
import sys
import warnings
from pathlib import Path

import cma
import numpy as np
import optuna
import rustuna
from scipy import stats

warnings.simplefilter("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)

SEEDS, TRIALS, CHECKPOINTS = 60, 200, (100, 200)
KEPT = Path("target/peers/tune.csv")

ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
A = np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]])
P = np.array(
    [
        [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
        [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
        [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
        [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
    ]
)


def branin(x):
    square = x[1] - 5.1 / (4 * math.pi**2) * x[0] ** 2 + 5 / math.pi * x[0] - 6
    return square**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x[0]) + 10


def hartmann6(x):
    return float(-(ALPHA * np.exp(-(A * (np.asarray(x) - P) ** 2).sum(1))).sum())


def rosenbrock5(x):
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in zip(x, x[1:]))


def ackley5(x):
    # The optimum is off the middle, where every sampler would find it by its prior.
    x = np.asarray(x) - 7.0
    return float(-20 * np.exp(-0.2 * np.sqrt((x**2).mean())) - np.exp(np.cos(2 * np.pi * x).mean()) + 20 + np.e)


def levy4(x):
    w = 1 + (np.asarray(x) - 1) / 4
    middle = ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum()
    return float(np.sin(np.pi * w[0]) ** 2 + middle + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2))


def styblinski5(x):
    x = np.asarray(x)
    return float((x**4 - 16 * x**2 + 5 * x).sum() / 2)


def michalewicz5(x):
    return -sum(math.sin(v) * math.sin((i + 1) * v * v / math.pi) ** 20 for i, v in enumerate(x))


def griewank8(x):
    # The optimum is off the middle along every axis.
    x = [v - 70 * math.cos(3 * i) for i, v in enumerate(x)]
    return sum(v * v for v in x) / 400 - math.prod(math.cos(v / math.sqrt(i + 1)) for i, v in enumerate(x)) + 1


HARTMANN3_A = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
HARTMANN3_P = np.array(
    [[0.3689, 0.1170, 0.2673], [0.4699, 0.4387, 0.7470], [0.1091, 0.8732, 0.5547], [0.0381, 0.5743, 0.8828]]
)


def hartmann3(x):
    return float(-(ALPHA * np.exp(-(HARTMANN3_A * (np.asarray(x) - HARTMANN3_P) ** 2).sum(1))).sum())


CONTINUOUS = {
    "branin": (branin, [(-5, 10), (0, 15)]),
    "hartmann6": (hartmann6, [(0, 1)] * 6),
    "rosenbrock5": (rosenbrock5, [(-5, 10)] * 5),
    "ackley5": (ackley5, [(-32.768, 32.768)] * 5),
    "levy4": (levy4, [(-10, 10)] * 4),
    "styblinski5": (styblinski5, [(-5, 5)] * 5),
    "michalewicz5": (michalewicz5, [(0, math.pi)] * 5),
    "griewank8": (griewank8, [(-100, 100)] * 8),
    "hartmann3": (hartmann3, [(0, 1)] * 3),
}


def mixed7(t):
    lr = t.suggest_float("lr", 1e-5, 1, log=True)
    layers = t.suggest_int("n_layers", 1, 8)
    width = t.suggest_int("width", 16, 1024, log=True)
    dropout = t.suggest_float("dropout", 0, 0.6, step=0.05)
    act = t.suggest_categorical("act", ["relu", "tanh", "gelu", "sigmoid"])
    opt = t.suggest_categorical("opt", ["sgd", "adam", "rmsprop"])
    momentum = t.suggest_float("momentum", 0, 0.99)
    best, penalty = {"sgd": (-1.5, 0.1), "adam": (-3.0, 0.0), "rmsprop": (-3.5, 0.05)}[opt]
    penalty += 0.5 * (momentum - 0.9) ** 2 if opt == "sgd" else 0.02 * momentum
    return (
        0.5 * (math.log10(lr) - best) ** 2
        + 0.05 * (layers - 4) ** 2
        + 0.1 * (math.log2(width) - 7.5) ** 2
        + 4 * (dropout - (0.3 if width > 256 else 0.1)) ** 2
        + {"relu": 0.05, "tanh": 0.2, "gelu": 0.0, "sigmoid": 0.5}[act]
        + penalty
    )


def conditional(t):
    model = t.suggest_categorical("model", ["svm", "rf", "mlp"])
    if model == "svm":
        c = math.log10(t.suggest_float("C", 1e-3, 1e3, log=True))
        gamma = math.log10(t.suggest_float("gamma", 1e-4, 10, log=True))
        return 0.3 + 0.1 * (c - 1) ** 2 + 0.1 * (gamma + 2) ** 2
    if model == "rf":
        depth = t.suggest_int("depth", 2, 32)
        trees = math.log10(t.suggest_int("n_est", 10, 1000, log=True))
        return 0.2 + 0.002 * (depth - 14) ** 2 + 0.1 * (trees - 2.5) ** 2
    lr = math.log10(t.suggest_float("lr", 1e-5, 1, log=True))
    layers = t.suggest_int("layers", 1, 4)
    widths = [math.log2(t.suggest_int(f"w{i}", 8, 256, log=True)) for i in range(layers)]
    return 0.1 * (3 - layers) ** 2 + sum(0.05 * (w - (6.5 - i)) ** 2 for i, w in enumerate(widths)) + 0.2 * (lr + 2.5) ** 2


def mixed5(t):
    """Choices that matter most, two integers, one of them wide."""
    kind = t.suggest_categorical("kind", ["a", "b", "c", "d", "e"])
    n = t.suggest_int("n", 0, 200)
    k = t.suggest_int("k", 1, 5)
    x = t.suggest_float("x", -3, 3)
    y = t.suggest_float("y", 1e-3, 10, log=True)
    shift = {"a": 1.5, "b": -0.5, "c": 0.0, "d": 2.0, "e": -2.0}[kind]
    offset = {"a": 0.3, "b": 0.0, "c": 1.0, "d": 0.1, "e": 2.0}[kind]
    return offset + ((n - 130) / 50) ** 2 + 0.3 * abs(k - 2) + (x - shift) ** 2 + 0.2 * (math.log10(y) + 1 + 0.5 * x) ** 2


def continuous(name):
    function, bounds = CONTINUOUS[name]
    return lambda t: function([t.suggest_float(f"x{i}", low, high) for i, (low, high) in enumerate(bounds)])


OBJECTIVES = {name: continuous(name) for name in CONTINUOUS} | {"mixed7": mixed7, "conditional": conditional, "mixed5": mixed5}


def reached(values):
    return [float(np.minimum.accumulate(values)[at - 1]) for at in CHECKPOINTS]


def run_optuna(name, seed):
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(OBJECTIVES[name], n_trials=TRIALS)
    return reached([t.value for t in study.trials])


def run_rustuna(name, seed):
    study = rustuna.create_study(sampler=rustuna.samplers.TPESampler(seed=seed), direction="minimize")
    values = []

    def objective(trial):
        values.append(OBJECTIVES[name](trial))
        return values[-1]

    study.optimize(objective, n_trials=TRIALS)
    return reached(values)


def run_cma(name, seed):
    function, bounds = CONTINUOUS[name]
    low, high = np.array(bounds, float).T
    options = {"bounds": [0, 1], "seed": seed + 1, "verbose": -9, "maxfevals": TRIALS}
    strategy = cma.CMAEvolutionStrategy([0.5] * len(bounds), 1 / 6, options)
    values = []
    while len(values) < TRIALS:
        points = strategy.ask()
        scores = [function(low + p * (high - low)) for p in points]
        strategy.tell(points, scores)
        values += scores
    return reached(values[:TRIALS])


ZDT1 = {"dimensions": 30, "trials": 1000}


def volume(points, reference=(11.0, 11.0)):
    area, edge = 0.0, reference[1]
    for first, second in sorted(points):
        if second < edge and first < reference[0]:
            area, edge = area + (reference[0] - first) * (edge - second), second
    return area


def run_nsga(_, seed):
    def zdt1(t):
        x = [t.suggest_float(f"x{i}", 0, 1) for i in range(ZDT1["dimensions"])]
        g = 1 + 9 * sum(x[1:]) / (len(x) - 1)
        return x[0], g * (1 - math.sqrt(x[0] / g))

    study = optuna.create_study(directions=["minimize"] * 2, sampler=optuna.samplers.NSGAIISampler(seed=seed))
    study.optimize(zdt1, n_trials=ZDT1["trials"])
    return [-volume([t.values for t in study.trials[: ZDT1["trials"] // 2]]), -volume([t.values for t in study.trials])]


# Who runs on what, and which of our samplers it is compared with.
PEERS = {
    "optuna_tpe": (run_optuna, OBJECTIVES, "tpe"),
    "rustuna_tpe": (run_rustuna, OBJECTIVES, "tpe"),
    "pycma": (run_cma, CONTINUOUS, "cma"),
    "optuna_nsga2": (run_nsga, ["zdt1"], "nsga2"),
}


def kept():
    if not KEPT.exists():
        return {}
    with KEPT.open() as file:
        return {(f, s, int(k)): (float(a), float(b)) for f, s, k, a, b in csv.reader(file)}


def run_peers(done):
    first = ["branin", "hartmann6", "rosenbrock5", "mixed7", "conditional", "zdt1"]
    for few, seed in [(f, s) for f in (True, False) for s in range(SEEDS)]:
        for peer, (run, functions, _) in PEERS.items():
            for name in functions:
                if few and name not in first:
                    continue
                if (name, peer, seed) in done:
                    continue
                values = run(name, seed)
                done[name, peer, seed] = tuple(values)
                with KEPT.open("a") as file:
                    file.write(",".join(map(str, [name, peer, seed, *values])) + "\n")


def run_ours():
    command = ["cargo", "bench", "--quiet", "-p", "mlp-tune", "--bench", "tune_quality", "--", "--raw", "--seeds", str(SEEDS)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    ours = {}
    for line in output.splitlines():
        function, sampler, seed, after_100, after_200 = line.split(",")
        ours[function, sampler, int(seed)] = (float(after_100), float(after_200))
    return ours


def holm(p_values):
    corrected, worst = [0.0] * len(p_values), 0.0
    for place, index in enumerate(np.argsort(p_values)):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = worst
    return corrected


def compare(ours, peers):
    """Prints the table; whether no row is significantly worse."""
    print("medians of the best value; p: two-sided Mann-Whitney over the seeds, Holm-corrected over the rows of a peer, which decides")
    worse = []
    print(f"{'function':12} {'peer':13} {'seeds':>5} {'trials':>6} {'ours':>11} {'peer':>11} {'p':>9}  verdict")
    for peer, (_, functions, sampler) in PEERS.items():
        rows = []
        for name in functions:
            for at, trials in enumerate(CHECKPOINTS if peer != "optuna_nsga2" else (500, 1000)):
                # All of them, unless the peers were stopped halfway.
                seeds = [k for k in range(SEEDS) if (name, sampler, k) in ours and (name, peer, k) in peers]
                pair = [[table[name, who, k][at] for k in seeds] for table, who in [(ours, sampler), (peers, peer)]]
                test = stats.mannwhitneyu(*pair)
                better = test.statistic < len(seeds) ** 2 / 2
                rows.append((name, len(seeds), trials, *map(np.median, pair), test.pvalue, better))
        for row, p in zip(rows, holm([row[5] for row in rows])):
            name, seeds, trials, mine, theirs, _, better = row
            verdict = "" if p >= 0.05 else "better" if better else "WORSE"
            print(f"{name:12} {peer:13} {seeds:5} {trials:6} {mine:11.5g} {theirs:11.5g} {p:9.2g}  {verdict}")
            if verdict == "WORSE":
                worse.append(f"{name} beside {peer} after {trials} trials")
    print("significantly worse after Holm's correction (p < 0.05): " + ("; ".join(worse) or "none"))
    return not worse


if __name__ == "__main__":
    values = kept()
    run_peers(values)
    if "--peers-only" not in sys.argv:
        sys.exit(0 if compare(run_ours(), values) else 1)
