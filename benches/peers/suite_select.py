"""scikit-learn's elimination and cross-validation beside this library's: the same rows, one thread each, CPU seconds."""

import os

os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})

import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn import datasets, dummy, ensemble, feature_selection, linear_model, model_selection, tree

warnings.simplefilter("ignore")


def standardised(features):
    return (features - features.mean(0)) / features.std(0)


def write(folder, name, features, target):
    (folder / f"{name}.features").write_bytes(np.ascontiguousarray(features, "<f8").tobytes())
    (folder / f"{name}.target").write_bytes(np.asarray(target, "<f8").tobytes())
    return features, target


def inputs(folder):
    data = {}
    for name, rows, columns in [("1000x20", 1_000, 20), ("5000x100", 5_000, 100)]:
        features, target = datasets.make_classification(
            rows, columns, n_informative=columns // 5, n_redundant=columns // 10, random_state=0
        )
        data[name] = write(folder, name, standardised(features), target)
    features, target = datasets.make_regression(5_000, 100, n_informative=20, noise=10.0, random_state=0)
    data["regression"] = write(folder, "regression", standardised(features), target)
    cancer = datasets.load_breast_cancer()
    data["breast_cancer"] = write(folder, "breast_cancer", standardised(cancer.data), cancer.target)
    return data


def ranking(selector):
    weighted = sum((at + 1) * int(rank) for at, rank in enumerate(selector.ranking_))
    return weighted + selector.n_features_ * 1e9


def least(work, runs):
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def rfecv(estimator, scoring, split, features, target):
    selector = feature_selection.RFECV(estimator, cv=split, scoring=scoring)
    return ranking(selector.fit(features, target))


def peers(data):
    folds = model_selection.StratifiedKFold(5)
    for name, tolerance, runs in [("1000x20", 1e-4, 3), ("1000x20", 1e-8, 3), ("5000x100", 1e-4, 1), ("5000x100", 1e-8, 1)]:
        logistic = linear_model.LogisticRegression(tol=tolerance, max_iter=10_000)
        work = lambda: rfecv(logistic, "accuracy", folds, *data[name])
        yield f"rfecv_logistic_{name}", f"tolerance {tolerance:g}", 40 if name == "1000x20" else 15, least(work, runs)
    work = lambda: rfecv(linear_model.LinearRegression(), "r2", model_selection.KFold(5), *data["regression"])
    yield "rfecv_ols_5000x100", "", 50, least(work, 1)

    def ladder():
        rungs = [
            dummy.DummyClassifier(),
            linear_model.LogisticRegression(),
            tree.DecisionTreeClassifier(random_state=0),
            ensemble.RandomForestClassifier(random_state=0),
            ensemble.GradientBoostingClassifier(random_state=0),
        ]
        for rung in rungs:
            model_selection.cross_validate(rung, *data["breast_cancer"], cv=folds, scoring="roc_auc")
        return len(rungs)

    yield "ladder_1", "", 8, least(ladder, 2)


def main():
    with tempfile.TemporaryDirectory() as folder:
        data = inputs(Path(folder))
        command = ["cargo", "bench", "--quiet", "--bench", "peers", "--", "select", folder]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        lines = (line.split("\t") for line in output.splitlines() if "\t" in line)
        ours = {name: (float(seconds), float(result)) for name, seconds, result in lines}
        print(f"{'':26}{'':18}{'scikit-learn s':>15}{'ours s':>9}{'ratio':>8}{'wanted':>8}  results")
        for name, note, wanted, (seconds, result) in peers(data):
            own, own_result = ours[name]
            same = "same" if result == own_result else f"features {result // 1e9:.0f} and {own_result // 1e9:.0f}"
            print(f"{name:26}{note:18}{seconds:15.2f}{own:9.3f}{seconds / own:8.1f}{wanted:>8}  {same}")
        cold, warm = ours["rfecv_cold_1000x20"], ours["rfecv_logistic_1000x20"]
        print(f"\nupdating instead of fitting anew, 1000x20: {cold[0] / warm[0]:.1f} times as fast, the same result: {cold[1] == warm[1]}")
        for one, two in [("rfecv_logistic_5000x100", "rfecv_two_threads"), ("ladder_1", "ladder_2")]:
            same = ours[one][1] == ours[two][1]
            print(f"two threads, {one}: {ours[one][0] / ours[two][0]:.2f} times as fast, wanted 1.6; the same result: {same}")
        print(f"AUC of the forest: {ours['forest_auc'][1]:.4f}")


if __name__ == "__main__":
    main()
