//! The main example as a user runs it: what it exits with, and what it says of input that cannot be used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mlp::core::Timestamp;
use mlp::eval::{EvalStoreExt, NewEvaluation, Stage};

/// Runs the example that was built beside this test.
fn lifecycle(arguments: &[&str]) -> Output {
    let mut path = std::env::current_exe().expect("the path of this test");
    path.pop();
    path.pop();
    let program = path.join("examples").join(format!("lifecycle{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{} is not built: run `cargo build --example lifecycle` first",
        program.display()
    );
    Command::new(program).args(arguments).output().expect("the example runs")
}

fn file(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a file");
    (folder, path)
}

/// The one line that the example says of a file that cannot be used.
fn refusal(content: &str, target: &str) -> String {
    let (_folder, path) = file("data.csv", content);
    let output = lifecycle(&["--data", path.to_str().expect("a path"), "--target", target]);
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("data.csv"), "{text}");
    text
}

#[test]
fn the_whole_life_ends_well_and_is_the_same_again() {
    let run = || {
        let output = lifecycle(&["--seed", "7"]);
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{text}");
        // The ladder's two columns of times are all that may differ.
        let rungs =
            ["logistic regression ", "decision tree ", "random forest ", "most frequent class "];
        let without_times = |line: &str| {
            let is_rung = rungs.iter().any(|rung| line.trim_start().starts_with(rung));
            if is_rung { line.chars().take(52).collect() } else { line.to_owned() }
        };
        text.lines().map(without_times).collect::<Vec<_>>()
    };
    let (first, second) = (run(), run());
    assert!(first.iter().any(|line| line.contains("240 duplicate rows are dropped")));
    assert!(first.iter().any(|line| line.contains("rolled back")));
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first, second);
    }
    assert_eq!(first.len(), second.len());
}

#[test]
fn bad_input_is_one_line_that_names_file_line_and_column() {
    assert!(
        refusal("a,b,y\n1,2,0\n3,x,1\n", "y")
            .contains("line 3, column \"b\": \"x\" is not a number")
    );
    assert!(refusal("a,b,y\n1,2,0\n", "z").contains("line 1, column \"z\""));
    assert!(refusal("a,b,y\n", "y").contains("the table is empty"));
    assert!(refusal("", "y").contains("the file is empty"));
    assert!(refusal("a,b,y\n1,2,0\n3,4,0\n", "y").contains("at least two classes are needed"));
    assert!(refusal("a,b,y\n1,2,0\n3,4\n", "y").contains("line 3"));
    assert!(refusal("a,b,y\n1,2,0\n3,4,1\n", "y").contains("at least 20 are needed"));
    let output = lifecycle(&["--data", "/no/such/data.csv", "--target", "y"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/data.csv"));
}

#[test]
fn arguments_that_make_no_sense_are_refused_with_the_usage() {
    for arguments in
        [&["--data", "x"][..], &["--target", "x"], &["--seed", "-1"], &["--seed"], &["--what"]]
    {
        let output = lifecycle(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("usage: lifecycle"),
            "{arguments:?}"
        );
    }
}

/// Logs what a run that is interrupted leaves behind: one evaluation in each of these experiments.
fn interrupted(path: &Path, experiments: &[&str]) {
    let (store, now) = (mlp_sqlite::Database::open(path).expect("opens"), Timestamp::UNIX_EPOCH);
    for experiment in experiments {
        let evaluation = NewEvaluation::new(*experiment, Stage::Test, now);
        store.log(evaluation.with_metric("roc_auc", 0.5), now).expect("is logged");
    }
}

#[test]
fn a_run_that_was_interrupted_is_not_compared_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mlp.db");
    let run = |more: &[&str]| {
        let store = ["--store", path.to_str().expect("a path")];
        let output = lifecycle(&[&store[..], more].concat());
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{text}");
        text
    };
    interrupted(&path, &["run 1: ladder"]);
    let second = run(&[]);
    assert_eq!(second.matches("nothing to compare with").count(), 1, "{second}");
    assert_eq!(second.matches("there is no earlier record of ").count(), 2, "{second}");
    assert!(!second.contains("run 1"), "{second}");

    interrupted(&path, &["run 3: ladder", "run 3: test"]);
    let fourth = run(&[]);
    assert!(fourth.contains("run 2 of this store, on the same data"), "{fourth}");
    assert!(fourth.contains("run 2: default") && fourth.contains("run 4"), "{fourth}");
    assert!(!fourth.contains("run 3"), "{fourth}");
    assert_eq!(fourth.matches("nothing changed in the record of ").count(), 2, "{fourth}");
}

#[test]
fn a_second_run_on_one_store_compares_itself_with_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mlp.db");
    let store = ["--store", path.to_str().expect("a path")];
    let run = |more: &[&str]| {
        let output = lifecycle(&[&store[..], more].concat());
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{text}");
        text
    };
    assert!(!run(&[]).contains("run 2"));
    let second = run(&["--seed", "7"]);
    assert!(second.contains("run 1 of this store, on "), "{second}");
    assert!(second.contains("seeds.everything"), "{second}");
    let third = run(&["--seed", "7"]);
    assert_eq!(third.matches("nothing changed in the record of ").count(), 2, "{third}");
    assert!(second.contains("run 1: default") && second.contains("run 1: tuned"), "{second}");
    let database = mlp_sqlite::Database::open(&path).expect("opens");
    assert!(database.verify().expect("verifies").is_sound());
    drop(database);

    fs::write(&path, "not a database, but long enough to be looked at as one would be")
        .expect("a file");
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(folder.path().join(format!("mlp.db{suffix}")));
    }
    let output = lifecycle(&store);
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
    assert!(text.contains("mlp.db"), "{text}");
}
