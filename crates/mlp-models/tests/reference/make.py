"""Writes sklearn.json beside it: what scikit-learn 1.9.1 answers to the questions of tests/models/sklearn.rs.

    python3 crates/mlp-models/tests/reference/make.py
"""

import json
import pathlib
import warnings

import numpy as np
import sklearn
from sklearn.calibration import _sigmoid_calibration
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

warnings.filterwarnings("ignore")
here = pathlib.Path(__file__).parent
data = here.parent / "vectors" / "data"


def load(name):
    table = np.loadtxt(data / f"{name}.csv", delimiter=",", skiprows=1)
    features, target = table[:, :-1], table[:, -1]
    return features, target if name == "friedman1" else target.astype(int)


def standardised(features):
    spread = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(spread == 0, 1, spread)


def folds_of(target, k=5):
    """The fold in which each row is asked about."""
    fold = np.empty(len(target), dtype=int)
    for number, (_, test) in enumerate(StratifiedKFold(k).split(np.zeros((len(target), 1)), target)):
        fold[test] = number
    return fold


def splits(fold):
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(fold.max() + 1)]


out = {"scikit-learn": sklearn.__version__}

# Linear models with an L1 penalty, by their tightest tolerance.
x, y = load("friedman1")
x = standardised(x)
weights = np.arange(len(y)) % 3 + 0.5
out["elastic_net"] = []
for alpha, ratio, weighted in [(0.1, 1.0, False), (0.5, 0.5, False), (0.05, 0.9, True), (10.0, 1.0, False)]:
    model = ElasticNet(alpha=alpha, l1_ratio=ratio, tol=1e-12, max_iter=100_000)
    model.fit(x, y, sample_weight=weights if weighted else None)
    out["elastic_net"].append({"alpha": alpha, "l1_ratio": ratio, "weighted": weighted,
                               "coef": model.coef_.tolist(), "intercept": model.intercept_})

out["logistic"] = []
for name, c, ratio in [("breast_cancer", 0.1, 1.0), ("wine", 0.2, 1.0), ("iris", 1.0, 0.7)]:
    x, y = load(name)
    x = standardised(x)
    model = LogisticRegression(C=c, l1_ratio=ratio, solver="saga", tol=1e-6, max_iter=3_000).fit(x, y)
    chances = model.predict_proba(x)
    size = np.abs(model.coef_).sum() * ratio + (model.coef_ ** 2).sum() * (1 - ratio) / 2
    objective = -np.log(chances[np.arange(len(y)), y]).sum() + size / c
    out["logistic"].append({"dataset": name, "c": c, "l1_ratio": ratio, "objective": objective,
                            "coef": model.coef_.tolist(), "intercept": model.intercept_.tolist()})

# Curves of calibration.
draw = np.random.default_rng(7)
scores = np.round(draw.normal(size=80), 2)
truth = (draw.random(80) < 1 / (1 + np.exp(-1.5 * scores + 0.3))).astype(int)
a, b = _sigmoid_calibration(scores, truth)
curve = IsotonicRegression(out_of_bounds="clip").fit(1 / (1 + np.exp(-scores)), truth)
ask = np.linspace(0.01, 0.99, 25)
out["calibration"] = {"scores": scores.tolist(), "truth": truth.tolist(), "slope": -a, "intercept": -b,
                      "ask": ask.tolist(), "isotonic": curve.predict(ask).tolist()}

# Preprocessing.
x, y = load("wine")
pca = PCA(4, svd_solver="full").fit(x)
out["pca"] = {"variances": pca.explained_variance_.tolist(), "shares": pca.explained_variance_ratio_.tolist(),
              "components": pca.components_.tolist(), "first_rows": pca.transform(x[:3]).tolist(),
              "kept_for_0.9999": int(PCA(0.9999, svd_solver="full").fit(x).n_components_)}
out["robust"] = RobustScaler().fit_transform(x)[:3].tolist()
poly = PolynomialFeatures(3, include_bias=False).fit(x[:, :3])
out["polynomial"] = {"names": poly.get_feature_names_out(["a", "b", "c"]).tolist(), "first_row": poly.transform(x[:1, :3])[0].tolist()}
holes = x[:40, :4].round(1)
holes[::7, 1] = np.nan
holes[3::5, 2] = np.nan
out["imputer"] = {strategy: SimpleImputer(strategy=strategy, fill_value=-1).fit(holes).statistics_.tolist()
                  for strategy in ["mean", "median", "most_frequent", "constant"]}

# Ensembles, on folds that are given.
x, y = load("wine")
x = standardised(x)
fold = folds_of(y)
linear = lambda c: LogisticRegression(C=c, tol=1e-12, max_iter=10_000)
stack = StackingClassifier([("a", linear(1.0)), ("b", linear(0.001))], linear(1.0), cv=splits(fold)).fit(x, y)
soft = VotingClassifier([("a", linear(1.0)), ("b", linear(0.001))], voting="soft", weights=[1, 3]).fit(x, y)
out["ensemble"] = {"fold": fold.tolist(), "stacking": stack.predict_proba(x)[::20].tolist(), "soft": soft.predict_proba(x)[::20].tolist()}
x, y = load("friedman1")
fold = np.arange(len(y)) % 4
stack = StackingRegressor([("a", Ridge(1.0)), ("b", Ridge(100.0))], Ridge(1.0), cv=splits(fold), passthrough=True).fit(x, y)
out["ensemble"]["regression"] = stack.predict(x)[::20].tolist()

print("the network", flush=True)
# The neural network: the mean accuracy over five folds, for some seeds.
x, y = load("digits")
fold = folds_of(y)
score = lambda seed, **more: cross_val_score(
    MLPClassifier(random_state=seed, **more), x / 16, y, cv=splits(fold)).mean()
out["perceptron"] = {"fold": fold.tolist(), "accuracies": [score(seed) for seed in range(3)]}
x, y = load("friedman1")
fold = np.arange(len(y)) % 5
network = lambda seed: make_pipeline(StandardScaler(), MLPRegressor(max_iter=1000, learning_rate_init=0.01, random_state=seed))
out["perceptron"]["regression_r2"] = [cross_val_score(network(seed), x, y, cv=splits(fold)).mean() for seed in range(3)]

(here / "sklearn.json").write_text(json.dumps(out, indent=1) + "\n")
print(out["perceptron"]["accuracies"], out["perceptron"]["regression_r2"])
