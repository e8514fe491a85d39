"""Loads the journal that `examples/tune_journal.rs` has written with Optuna, continues it with ten trials, and says how many there are.

usage: tune_journal.py PATH TRIALS_EXPECTED [continue]
"""

import math
import sys
import warnings

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


check(expected)
if sys.argv[3:] == ["continue"]:
    study.optimize(objective, n_trials=10)
    check(expected + 10)
print(f"optuna {optuna.__version__}: {len(study.trials)} trials, best {study.best_trial.number} with {study.best_value!r}")
