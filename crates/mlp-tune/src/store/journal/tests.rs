use std::fs;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::trial::TrialState;

fn draft() -> TrialDraft {
    TrialDraft::new(TrialState::Running)
}

fn finish(value: f64) -> TrialEvent {
    let finished = mlp_core::Timestamp::UNIX_EPOCH;
    TrialEvent::Finish { state: TrialState::Complete, values: vec![value], finished }
}

/// A journal with one complete trial.
fn one_trial(path: &Path) -> (Journal, StudyId) {
    let journal = Journal::open(path).unwrap();
    let study = journal.open_study("s", &[Direction::Minimize]).unwrap();
    journal.create_trial(study, 0, &draft()).unwrap();
    journal.record(study, 0, &finish(0.5)).unwrap();
    (journal, study)
}

#[test]
fn a_journal_keeps_the_contract_of_study_stores() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    super::super::testing::check(|| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Journal::open(folder.path().join(format!("{number}.log"))).unwrap()
    });
}

#[test]
fn a_trial_is_two_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    one_trial(&path);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
    assert!(!folder.path().join("study.log.lock").exists());
}

#[test]
fn a_torn_last_line_is_set_aside_before_the_next_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    one_trial(&path);
    let whole = fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|&b| b == b'\n').unwrap() + 1;
    for cut in last + 1..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let journal = Journal::open(&path).unwrap();
        let study = journal.open_study("s", &[Direction::Minimize]).unwrap();
        journal.record(study, 0, &finish(0.25)).unwrap();
        let again = Journal::open(&path).unwrap();
        assert_eq!(again.damage(), [], "cut at {cut}");
        assert_eq!(again.changes(study, 0).unwrap().trials[0].values, [0.25]);
    }
    let torn = fs::read_to_string(folder.path().join("study.log.torn")).unwrap();
    assert_eq!(torn.lines().count(), whole.len() - last - 1);
}

#[test]
fn damaged_lines_are_passed_over_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    one_trial(&path);
    let mut lines: Vec<String> =
        fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    lines.insert(2, String::new());
    lines.insert(2, "\0\0\0".into());
    lines.insert(2, r#"{"op_code":11,"worker_id":"x"}"#.into());
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let journal = Journal::open(&path).unwrap();
    let damaged: Vec<u64> = journal.damage().iter().map(|damage| damage.line).collect();
    assert_eq!((damaged, journal.damaged_lines()), (vec![3, 4, 5], 3));
    assert_eq!(journal.changes(StudyId(0), 0).unwrap().trials[0].values, [0.5]);
}

#[test]
fn the_lock_of_a_dead_process_is_broken_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let (journal, study) = one_trial(&path);
    fs::write(folder.path().join("study.log.lock"), crate::worker::tests::dead_process()).unwrap();
    let start = std::time::Instant::now();
    journal.create_trial(study, 1, &draft()).unwrap();
    // It did not wait for the 30 s after which any lock is stale.
    assert!(start.elapsed() < std::time::Duration::from_secs(25));
}

#[test]
fn the_lock_of_a_process_that_died_before_it_took_its_draft_away_is_broken_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let (journal, study) = one_trial(&path);
    let (lock, left) = (path.with_extension("log.lock"), path.with_extension("log.lock.draft"));
    fs::write(&lock, crate::worker::tests::dead_process()).unwrap();
    fs::hard_link(&lock, &left).unwrap();
    let start = std::time::Instant::now();
    journal.create_trial(study, 1, &draft()).unwrap();
    // It did not wait for the 30 s after which any lock is stale.
    assert!(start.elapsed() < std::time::Duration::from_secs(25));
    assert!(!lock.exists() && !left.exists());
}

#[test]
fn two_journals_on_one_file_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let (one, study) = one_trial(&path);
    let two = Journal::open(&path).unwrap();
    two.create_trial(study, 1, &draft()).unwrap();
    assert!(matches!(one.create_trial(study, 1, &draft()), Err(StoreError::Conflict { .. })));
    one.create_trial(study, 2, &draft()).unwrap();
    assert_eq!(two.changes(study, 0).unwrap().trials.len(), 3);
}

#[test]
fn what_optuna_accepts_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let lines = [
        r#"{"op_code":0,"worker_id":"w","study_name":"s","directions":[2]}"#,
        r#"{"op_code":0,"worker_id":"v","study_name":"s","directions":[2]}"#,
        r#"{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":null}"#,
        r#"{"op_code":5,"worker_id":"w","trial_id":0,"param_name":"c","param_value_internal":1,"distribution":"{\"name\": \"CategoricalDistribution\", \"attributes\": {\"choices\": [\"a\", null, 0.5]}}"}"#,
        r#"{"op_code":7,"worker_id":"w","trial_id":0,"step":1,"intermediate_value":NaN}"#,
        r#"{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{"k":[1]},"extra":1}"#,
        r#"{"op_code":6,"worker_id":"w","trial_id":0,"state":1,"values":[Infinity],"datetime_complete":"2026-11-23T00:00:00"}"#,
        r#"{"op_code":6,"worker_id":"w","trial_id":0,"state":3,"values":null}"#,
        r#"{"op_code":10,"worker_id":"w","trial_ids":[0]}"#,
        r#"{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":null,"state":1,"value":1e999}"#,
    ];
    fs::write(&path, lines.join("\r\n") + "\n").unwrap();
    let journal = Journal::open(&path).unwrap();
    assert_eq!(journal.damage(), []);
    let trials = journal.changes(StudyId(0), 0).unwrap().trials;
    assert_eq!(trials[0].params.get("c"), Some(&"None".into()));
    assert_eq!((trials[0].state, trials[0].values[0]), (TrialState::Complete, f64::INFINITY));
    assert_eq!(trials[1].values, [f64::INFINITY]);
}

#[test]
fn infinite_values_at_rungs_are_numbers_to_python() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let journal = Journal::open(&path).unwrap();
    let study = journal.open_study("s", &[Direction::Minimize]).unwrap();
    journal.create_trial(study, 0, &draft()).unwrap();
    let marks = [
        ("completed_rung_0", json!("Infinity"), "\"completed_rung_0\":Infinity}"),
        ("completed_rung_1", json!("-Infinity"), "\"completed_rung_1\":-Infinity}"),
        ("completed_rung_2", json!(["Infinity", 0.5]), "\"completed_rung_2\":[Infinity,0.5]}"),
        ("completed_rung_3", json!(0.25), "\"completed_rung_3\":0.25}"),
        ("note", json!("Infinity"), "\"note\":\"Infinity\"}"),
    ];
    for (name, value, _) in &marks {
        let event = TrialEvent::System { name: (*name).into(), value: value.clone() };
        journal.record(study, 0, &event).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let again = Journal::open(&path).unwrap();
    assert_eq!(again.damage(), []);
    let trial = again.changes(study, 0).unwrap().trials.remove(0);
    for (name, value, written) in marks {
        assert!(text.contains(written), "{written} in {text}");
        assert_eq!(trial.system[name], value);
    }
}

#[test]
fn another_file_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let others: [&[u8]; 5] =
        [b"x,y\n1,2\n", b"SQLite format 3\0\x10\0", b"{}", b"\n\n", b"{\"op_code\":99}\n"];
    for other in others {
        fs::write(&path, other).unwrap();
        assert!(matches!(Journal::open(&path), Err(StoreError::Corrupt { .. })), "{other:?}");
        assert_eq!(fs::read(&path).unwrap(), other);
    }
    // The beginning of a first line is none: its writer died.
    for torn in [&b"{"[..], b"{\"op_co", b"{\"op_code\":0,\"wor"] {
        fs::write(&path, torn).unwrap();
        let journal = Journal::open(&path).unwrap();
        journal.open_study("s", &[Direction::Minimize]).unwrap();
        assert_eq!(Journal::open(&path).unwrap().studies().unwrap().len(), 1);
    }
}

#[test]
fn random_bytes_never_panic() {
    use rand_core::Rng;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    one_trial(&path);
    let whole = fs::read(&path).unwrap();
    let mut stream = mlp_core::random::stream(1, 0);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..1 + stream.next_u64() % 20 {
            let place = stream.next_u64() as usize % bytes.len();
            bytes[place] = stream.next_u64() as u8;
        }
        fs::write(&path, &bytes).unwrap();
        if let Ok(journal) = Journal::open(&path) {
            let _ = journal.open_study("s", &[Direction::Minimize]);
            let _ = journal.create_trial(StudyId(0), 7, &draft());
        }
    }
}

/// A journal of several trials, each with a value of its own.
fn several(path: &Path, trials: u64) -> StudyId {
    let journal = Journal::open(path).unwrap();
    let study = journal.open_study("s", &[Direction::Minimize]).unwrap();
    for number in 0..trials {
        journal.create_trial(study, number, &draft()).unwrap();
        journal.record(study, number, &finish(number as f64)).unwrap();
    }
    study
}

#[test]
fn a_damaged_line_leaves_the_results_of_other_trials_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let study = several(&path, 4);
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    for (damaged, by) in [(3, "\"op_code\":4"), (3, "mlp"), (4, "mlp"), (7, "state")] {
        let mut copy: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        copy[damaged] = copy[damaged].replacen(by, "#", 1);
        fs::write(&path, copy.join("\n") + "\n").unwrap();
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.damage().first().map(|d| d.line), Some(damaged as u64 + 1));
        let trials = journal.changes(study, 0).unwrap().trials;
        let complete = trials.iter().filter(|trial| trial.state == TrialState::Complete);
        assert!(complete.clone().count() == 3, "{damaged}: {trials:?}");
        assert!(complete.into_iter().all(|trial| trial.values == [trial.number as f64]));
    }
}

/// How many of the bits of a journal may flip so that it reads well and says something else.
fn unnoticed_flips(path: &Path, whole: &[u8], study: StudyId) -> usize {
    fs::write(path, whole).unwrap();
    let expected = Journal::open(path).unwrap().changes(study, 0).unwrap().trials;
    let is_unnoticed = |bit: &usize| {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, &flipped).unwrap();
        let Ok(journal) = Journal::open(path) else { return false };
        let torn = !flipped.ends_with(b"\n");
        !torn
            && journal.damaged_lines() == 0
            && journal.changes(study, 0).unwrap().trials != expected
    };
    (0..8 * whole.len()).step_by(3).filter(is_unnoticed).count()
}

#[test]
fn every_flipped_bit_is_found_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let study = several(&path, 2);
    let whole = fs::read_to_string(&path).unwrap();
    assert_eq!(unnoticed_flips(&path, whole.as_bytes(), study), 0);
    // Without checksums the same search finds some: it is they that notice.
    let bare =
        whole.lines().map(|line| format!("{}}}\n", line.split(",\"mlp_crc\"").next().unwrap()));
    assert!(unnoticed_flips(&path, bare.collect::<String>().as_bytes(), study) > 10);
}

#[test]
fn lines_of_a_later_version_and_bombs_are_reported_and_the_others_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let study = several(&path, 2);
    let before = Journal::open(&path).unwrap().changes(study, 0).unwrap().trials;
    let mut text = fs::read_to_string(&path).unwrap();
    let (deep, end) = ("[".repeat(250_000), "]".repeat(250_000));
    let bombs = [
        r#"{"op_code":11,"worker_id":"w","study_id":0}"#.to_owned(),
        r#"{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":null,"mlp_id":18446744073709551615}"#.to_owned(),
        format!(r#"{{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{{"a":{deep}{end}}}}}"#),
        format!(r#"{{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{{"a":{}"#, "{\"a\":".repeat(250_000)),
        format!(r#"{{"op_code":7,"worker_id":"w","trial_id":0,"step":{}}}"#, "9".repeat(100_000)),
    ];
    for bomb in &bombs {
        text.push_str(bomb);
        text.push('\n');
    }
    fs::write(&path, &text).unwrap();
    let journal = Journal::open(&path).unwrap();
    assert_eq!(journal.damaged_lines(), bombs.len() as u64);
    assert!(journal.damage()[0].reason.contains("no operation 11"), "{:?}", journal.damage()[0]);
    let trials = journal.changes(study, 0).unwrap().trials;
    assert_eq!(trials[..2], before);
    // A failed one stands in for the trial whose line says that a great many before it are missing.
    assert_eq!(
        trials[2..].iter().map(|trial| trial.state).collect::<Vec<_>>(),
        [TrialState::Failed]
    );
    journal.create_trial(study, 3, &draft()).unwrap();
}

#[test]
fn distributions_that_repeat_are_recognised_only_where_they_are_the_trials_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    let field = |low: u32| {
        format!(
            r#""distributions":{{"x":"{{\"name\": \"FloatDistribution\", \"attributes\": {{\"step\": null, \"low\": {low}.0, \"high\": 9.0, \"log\": false}}}}"}}"#
        )
    };
    let trial = |rest: &str| {
        format!(
            "{{\"op_code\":4,\"worker_id\":\"w\",\"study_id\":0,\"datetime_start\":null,{rest}}}\n"
        )
    };
    let x = r#""params":{"x":5.0}"#;
    let (one, two) = (field(1), field(2));
    let mut text =
        "{\"op_code\":0,\"worker_id\":\"w\",\"study_name\":\"s\",\"directions\":[1]}\n".to_owned();
    for rest in [
        format!("{one},{x}"),
        format!("{one},{x}"),
        format!("{two},{x}"),
        format!("{two},{x},\"user_attrs\":{{{one}}}"),
        // An attribute of that name, before the field itself and instead of it.
        format!("\"user_attrs\":{{{one},\"a\":1}},{two},{x}"),
        format!("\"user_attrs\":{{{one},\"a\":1}}"),
        format!("{x},{one}"),
        // Not the same text to its end, and twice.
        format!("{},{x}", one.replace("false}}\"", "false}}\",\"y\":\"\"")),
        format!("{one},{two},{x}"),
    ] {
        text.push_str(&trial(&rest));
    }
    fs::write(&path, &text).unwrap();
    let journal = Journal::open(&path).unwrap();
    let trials = journal.changes(StudyId(0), 0).unwrap().trials;
    let lows: Vec<Option<f64>> = trials
        .iter()
        .map(|trial| match trial.domains.get("x") {
            Some(mlp_core::Domain::Float { low, .. }) => Some(*low),
            _ => None,
        })
        .collect();
    let damaged = trials.iter().filter(|trial| trial.state == TrialState::Failed).count();
    assert_eq!((journal.damaged_lines(), damaged), (2, 2), "{:?}", journal.damage());
    let known = [1.0, 1.0, 2.0, 2.0, 2.0].map(Some).into_iter().chain([None, Some(1.0)]);
    assert_eq!(lows[..7], known.collect::<Vec<_>>());
    assert!(Arc::ptr_eq(&trials[0].domains, &trials[1].domains));
    let nested = serde_json::from_str::<serde_json::Value>(&format!("{{{one}}}")).unwrap();
    assert_eq!(trials[3].attributes["distributions"], nested["distributions"]);
    assert_eq!(trials[5].attributes["a"], 1);
}

#[test]
fn attributes_of_a_study_are_optunas() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.log");
    // As `study.set_user_attr` of Optuna 5.0 writes it; then one of a study that is not there, which Optuna passes over.
    let lines = concat!(
        r#"{"op_code":0,"worker_id":"w","study_name":"s","directions":[1]}"#,
        "\n",
        r#"{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"best_so_far":[0.5,null]}}"#,
        "\n",
        r#"{"op_code":2,"worker_id":"w","study_id":7,"user_attr":{"a":1}}"#,
        "\n",
    );
    fs::write(&path, lines).unwrap();
    let journal = Journal::open(&path).unwrap();
    let study = journal.open_study("s", &[Direction::Minimize]).unwrap();
    journal.set_attribute(study, "data", &"wine".into()).unwrap();
    let again = Journal::open(&path).unwrap();
    assert_eq!(again.damage(), []);
    let attributes = again.attributes(study).unwrap();
    assert_eq!(attributes["best_so_far"], serde_json::json!([0.5, null]));
    assert_eq!(attributes["data"], "wine");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().last().unwrap().contains(r#""study_id":0,"user_attr":{"data":"wine"}"#));
}
