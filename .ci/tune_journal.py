"""Loads the journal that `examples/tune_journal.rs` has written with Optuna, and says how many trials there are.

usage: tune_journal.py PATH TRIALS_EXPECTED [continue | work | shared]

continue: adds ten trials. work: says that it is ready with a file PATH.ready.PID, waits for PATH.go, and adds as many trials as are expected
of it. shared: every line is whole, and those of Optuna's workers and ours lie among each other.
"""

import json
import math
import os
import sys
import time
import warnings
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

path, expected = sys.argv[1], int(sys.argv[2])
# A range that is read as another one is an error.
warnings.filterwarnings("error", message="The distribution is specified by")
optuna.logging.set_verbosity(optuna.logging.WARNING)
storage = JournalStorage(JournalFileBackend(path))
study = optuna.load_study(study_name="journal", storage=storage)


def check(trials: int) -> None:
    """Every trial is there, complete, with its typed parameters in their domains and its infinite report."""
    assert len(study.trials) == trials, f"{len(study.trials)} trials, {trials} were expected"
    for number, trial in enumerate(study.trials):
        assert trial.number == number
        assert trial.state == TrialState.COMPLETE, trial
        assert isinstance(trial.params["x"], float) and -5 <= trial.params["x"] <= 10
        assert isinstance(trial.params["width"], int) and 16 <= trial.params["width"] <= 1024
        assert trial.params["activation"] in ("relu", "tanh", "gelu")
        assert trial.intermediate_values == {0: math.inf}
        assert trial.distributions["dropout"].high == 0.9, trial.distributions["dropout"]
        x, rate, width = (trial.params[name] for name in ("x", "rate", "width"))
        score = (x - 2) ** 2 + (math.log10(rate) + 3) ** 2 + abs(math.log2(width) - 7)
        score += trial.params["dropout"]
        score += 0.0 if trial.params["activation"] == "gelu" else 0.5
        assert math.isclose(trial.value, score, rel_tol=1e-12, abs_tol=1e-12), (trial.value, score)


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -5.0, 10.0)
    rate = trial.suggest_float("rate", 1e-5, 1.0, log=True)
    width = trial.suggest_int("width", 16, 1024, log=True)
    penalty = 0.0 if trial.suggest_categorical("activation", ["relu", "tanh", "gelu"]) == "gelu" else 0.5
    dropout = trial.suggest_float("dropout", 0.0, 0.9, step=0.3)
    trial.report(math.inf, 0)
    return (x - 2) ** 2 + (math.log10(rate) + 3) ** 2 + abs(math.log2(width) - 7) + dropout + penalty


def check_lines() -> None:
    """No line is damaged, and the workers of both libraries wrote at the same time."""
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    assert sum(line["op_code"] == 4 for line in lines) == expected
    optunas = [not line["worker_id"].startswith("mlp/") for line in lines]
    changes = sum(one != other for one, other in zip(optunas, optunas[1:]))
    print(f"{len(lines)} lines, {sum(optunas)} of them Optuna's, in {changes + 1} runs")
    # One after the other they would have changed places two times at most: ours were there first.
    assert changes >= 4, f"the workers changed places {changes} times"


if sys.argv[3:] == ["work"]:
    Path(f"{path}.ready.{os.getpid()}").touch()
    while not os.path.exists(f"{path}.go"):
        time.sleep(0.001)

    def slow(trial: optuna.Trial) -> float:
        # Else a worker would hold the lock nearly all the time, and hardly any other come between.
        time.sleep(0.01)
        return objective(trial)

    study.optimize(slow, n_trials=expected)
    sys.exit()
check(expected)
if sys.argv[3:] == ["continue"]:
    study.optimize(objective, n_trials=10)
    check(expected + 10)
if sys.argv[3:] == ["shared"]:
    check_lines()
print(f"optuna {optuna.__version__}: {len(study.trials)} trials, best {study.best_trial.number} with {study.best_value!r}")
