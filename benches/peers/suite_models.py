"""scikit-learn's estimators and ONNX Runtime's forest beside this library's: the same rows, one thread each, CPU seconds."""

import os

os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})

import json
import struct
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn import datasets, ensemble, linear_model, tree

warnings.simplefilter("ignore")

SMALL_CALLS = 2_000


def bent(rng, rows, columns=20):
    """Two classes whose boundary bends; five features matter."""
    x = rng.standard_normal((rows, columns))
    score = x[:, 0] * x[:, 1] + x[:, 2] - 0.5 * x[:, 3] ** 2 + np.sin(x[:, 4])
    return x, (score + 0.5 * rng.standard_normal(rows) > -0.4).astype(float)


def write(folder, name, features, target=None):
    (folder / (f"{name}.features" if target is not None else name)).write_bytes(np.ascontiguousarray(features, "<f8").tobytes())
    if target is not None:
        (folder / f"{name}.target").write_bytes(np.asarray(target, "<f8").tobytes())


def saved(forest, n_features):
    """A forest of scikit-learn as this library saves its own, node for node."""
    body = {"width": 2, "roots": [], "feature": [], "threshold": [], "left": [], "cover": [], "slot": [], "answers": []}
    for estimator in forest.estimators_:
        nodes = estimator.tree_
        body["roots"].append(len(body["feature"]))
        start = len(body["feature"])
        place, open_nodes, count = {0: start}, [0], start + 1
        order = [0]
        while open_nodes:
            node = open_nodes.pop()
            left, right = nodes.children_left[node], nodes.children_right[node]
            if left >= 0:
                place[left], place[right] = count, count + 1
                order += [left, right]
                count += 2
                open_nodes += [right, left]
        for node in order:
            leaf = nodes.children_left[node] < 0
            body["feature"].append(0 if leaf else int(nodes.feature[node]))
            body["threshold"].append(0.0 if leaf else float(nodes.threshold[node]))
            body["left"].append(0 if leaf else place[nodes.children_left[node]])
            body["cover"].append(float(nodes.weighted_n_node_samples[node]))
            body["slot"].append(len(body["answers"]) // 2 if leaf else 0)
            if leaf:
                body["answers"] += [float(share) for share in nodes.value[node][0]]
    names = [f"x{k}" for k in range(n_features)]
    model = {
        "signature": {"features": names, "task": {"classification": {"classes": ["no", "yes"]}}},
        "nodes": body,
        "importances": [float(share) for share in forest.feature_importances_],
    }
    text, kind = json.dumps(model).encode(), b"mlp-models/trees"
    return b"MLP\x01" + struct.pack("<H", len(kind)) + kind + struct.pack("<IQ", 1, len(text)) + text


def least(work, runs):
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return min(seconds), result


def objective(model, x, y):
    """What scikit-learn's logistic regression minimises for C = 1."""
    margin = (2 * y - 1) * model.decision_function(x)
    return np.logaddexp(0, -margin).sum() + 0.5 * (model.coef_**2).sum()


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def nothing(columns):
    """A graph that only hands its input on: what a call of the runtime costs without a model."""
    rows = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, columns])
    out = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, columns])
    graph = helper.make_graph([helper.make_node("Identity", ["X"], ["Y"])], "nothing", [rows], [out])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def calls(run, output, rows):
    single = [rows[k : k + 1] for k in range(len(rows))]

    def work():
        for k in range(SMALL_CALLS):
            run.run([output], {"X": single[k % len(single)]})

    work()
    return least(work, 7)[0] / SMALL_CALLS


def main():
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, test = bent(rng, 10_000), bent(rng, 10_000)
        cancer = datasets.load_breast_cancer()
        write(folder, "train", *train)
        write(folder, "test", *test)
        write(folder, "large", *bent(rng, 100_000, 50))
        scaled = (cancer.data - cancer.data.mean(axis=0)) / cancer.data.std(axis=0)
        small = {"thousand": bent(rng, 1_000), "cancer": (scaled, cancer.target.astype(float))}
        for name, data in small.items():
            write(folder, name, *data)
        forests = {}
        for name, (x, y), rows in [("small", (cancer.data, cancer.target), cancer.data), ("large", train, test[0])]:
            # Both libraries of Python compare in single precision.
            x, rows = x.astype(np.float32), rows.astype(np.float32)
            forest = ensemble.RandomForestClassifier(random_state=0).fit(x, y)
            write(folder, f"{name}.rows", rows)
            (folder / f"{name}.forest").write_bytes(saved(forest, x.shape[1]))
            forests[name] = forest, rows
        command = ["cargo", "bench", "--quiet", "--bench", "peers", "--", "models", str(folder)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        lines = (line.split("\t") for line in output.splitlines() if "\t" in line)
        ours = {name: (float(seconds), float(result)) for name, seconds, result in lines}

    def row(what, theirs, own, wanted, note):
        print(f"{what:48}{theirs:>12}{own:>12}{note[0]:8.2f}{wanted:>8}  {note[1]}")

    print(f"{'':48}{'peer':>12}{'ours':>12}{'ratio':>8}{'wanted':>8}  accuracy or sum of predictions: peer, ours")
    fits = [
        ("fit_forest", ensemble.RandomForestClassifier(random_state=0), 2, 8),
        ("fit_boosting", ensemble.HistGradientBoostingClassifier(early_stopping=False, random_state=0), 2, 2),
        ("fit_tree", tree.DecisionTreeClassifier(random_state=0), 3, 5),
        ("fit_logistic", linear_model.LogisticRegression(tol=1e-8, max_iter=10_000), 5, 1),
    ]
    for name, estimator, runs, wanted in fits:
        seconds, model = least(lambda: estimator.fit(*train), runs)
        own, accuracy = ours[name]
        row(f"{name}, 10,000 x 20", f"{seconds * 1e3:.1f} ms", f"{own * 1e3:.1f} ms", wanted,
            (seconds / own, f"{model.score(*test):.4f}, {accuracy:.4f}"))
    for name, (x, y) in small.items():
        own, reached = ours[f"logistic_{name}"]
        own /= ours[f"logistic_{name}_fits"][0]
        # At its default tolerance L-BFGS stops short of the minimum; the others come as near to it as the fit here.
        solvers = [
            ("L-BFGS", linear_model.LogisticRegression(), ""),
            ("L-BFGS, tolerance 1e-8", linear_model.LogisticRegression(tol=1e-8, max_iter=10_000), 3),
            ("Newton-Cholesky", linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-8), 3),
        ]
        for solver, estimator, wanted in solvers:
            seconds, model = least(lambda: estimator.fit(x, y), 40)
            shape = f"logistic, {x.shape[0]:,} x {x.shape[1]}"
            row(f"{shape}, {solver}", f"{seconds * 1e3:.2f} ms", f"{own * 1e3:.2f} ms", wanted,
                (seconds / own, f"objective {objective(model, x, y):.9f}, {reached:.9f}"))
    for name, (forest, rows) in forests.items():
        nodes = sum(estimator.tree_.node_count for estimator in forest.estimators_)
        run = session(to_onnx(forest, rows[:1], options={"zipmap": False}))
        call, empty = calls(run, "probabilities", rows), calls(session(nothing(rows.shape[1])), "Y", rows)
        own = ours[f"one_row_{name}"][0] / ours[f"one_row_{name}_calls"][0]
        sums = f"{run.run(['probabilities'], {'X': rows})[0][:, 1].sum():.4f}, {ours[f'one_row_{name}'][1]:.4f}"
        what = f"one row, 100 trees, {nodes} nodes"
        row(what, f"{call * 1e6:.2f} us", f"{own * 1e6:.2f} us", 2, (call / own, f"ONNX Runtime, whole call; {sums}"))
        inside = call - empty
        row("  less an empty call", f"{inside * 1e6:.2f} us", f"{own * 1e6:.2f} us", "", (inside / own, f"an empty call is {empty * 1e6:.2f} us"))
        seconds, predicted = least(lambda: forest.predict_proba(rows), 5)
        batch, batch_sum = ours[f"all_rows_{name}"]
        batch /= ours[f"all_rows_{name}_calls"][0]
        row(f"{len(rows)} rows through it", f"{seconds * 1e3:.1f} ms", f"{batch * 1e3:.2f} ms", 3,
            (seconds / batch, f"scikit-learn; {predicted[:, 1].sum():.4f}, {batch_sum:.4f}"))
        together, _ = least(lambda: run.run(["probabilities"], {"X": rows}), 5)
        row("  ", f"{together * 1e3:.1f} ms", f"{batch * 1e3:.2f} ms", "", (together / batch, "ONNX Runtime"))
    for name in ["forest", "boosting"]:
        one, two = ours[f"{name}_large_1"], ours[f"{name}_large_2"]
        row(f"two threads, {name}, 100,000 x 50", f"{one[0] * 1e3:.0f} ms", f"{two[0] * 1e3:.0f} ms", 1.7,
            (one[0] / two[0], f"one thread, two threads; {one[1]:.4f}, {two[1]:.4f}"))


if __name__ == "__main__":
    main()
