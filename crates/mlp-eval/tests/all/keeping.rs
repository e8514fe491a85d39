//! Retention, export and import.

use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Direction, StoreError, Timestamp};
use mlp_eval::{
    Batch, EvalStore, EvalStoreExt, Filter, IMPORTING, InMemoryEvalStore, LEGAL_HOLD,
    NewEvaluation, PIN, Query, Retention, SeriesKey, Stage, Status, View, export_csv,
    export_json_lines, import_json_lines,
};

use crate::contract::Wrapper;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn ended(store: &InMemoryEvalStore, evaluation: NewEvaluation) -> mlp_core::EvaluationId {
    store.log(evaluation, at(500)).unwrap()
}

fn new(second: i64, f1: f64) -> NewEvaluation {
    NewEvaluation::new("wine", Stage::Test, at(second))
        .with_model("forest".parse().unwrap())
        .with_metric("f1", f1)
}

#[test]
fn age_and_number_take_and_best_pins_holds_and_running_ones_stay() {
    let store = InMemoryEvalStore::new();
    let old = ended(&store, new(1, 0.5));
    let best = ended(&store, new(2, 0.9));
    let pinned = ended(&store, new(3, 0.1).with_tag(PIN, "for the paper"));
    let held = ended(&store, new(4, 0.1).with_tag(LEGAL_HOLD, "case 7"));
    let running = new(5, 0.2);
    store.create(&running).unwrap();
    let middle = ended(&store, new(100, f64::NAN));
    let latest = ended(&store, new(101, 0.3));
    let rules = Retention::new()
        .with_max_age(Duration::from_secs(150))
        .with_count_per_model(1)
        .with_best("f1", Direction::Maximize, 1);
    let mut plan = rules.plan(&store, &Filter::everything(), at(200)).unwrap();
    let goes: Vec<_> = plan.goes.iter().map(|verdict| verdict.id).collect();
    assert_eq!(goes, [middle, old]);
    let reason = |id| &plan.kept.iter().find(|verdict| verdict.id == id).unwrap().reason;
    assert!(reason(best).contains("number 1"), "{}", reason(best));
    assert_eq!(reason(pinned), "pinned: for the paper");
    assert_eq!(reason(held), "legal hold: case 7");
    assert_eq!(reason(running.id), "it is running");
    assert_eq!(reason(latest), "no rule takes it");
    assert_eq!(store.count(&Filter::everything()).unwrap(), 7, "a plan changes nothing");
    store.delete(old).unwrap();
    store.restore(old).unwrap();
    assert_eq!(plan.carry_out(&store).unwrap(), 2);
    assert_eq!(store.count(&Filter::everything()).unwrap(), 5);
    store.restore(middle).unwrap();
    assert_eq!(plan.purge(&store).unwrap(), 1, "what was restored is not purged");
    assert!(store.get(old).is_err() && store.get(middle).is_ok());
    let nothing = Retention::new().plan(&store, &Filter::everything(), at(1_000_000)).unwrap();
    assert!(nothing.goes.is_empty());
}

#[test]
fn what_is_exported_comes_back_exactly_and_twice_is_once() {
    let store = InMemoryEvalStore::new();
    let key = SeriesKey::new("loss").with_context("subset", "train");
    let run = new(1, f64::NAN)
        .with_param("lr", 0.1)
        .with_param("n", f64::INFINITY)
        .with_tag("a", "b\n\"c");
    store.create(&run).unwrap();
    let points = 2_500;
    for from in (0..points).step_by(500) {
        let batch = (from..from + 500).fold(Batch::new(), |batch, step| {
            let value = if step % 7 == 0 { f64::NEG_INFINITY } else { 1.0 / step as f64 };
            batch.with_point(key.clone(), step, at(step), value)
        });
        store.write(run.id, &batch).unwrap();
    }
    store.write(run.id, &Batch::new().finished(Status::Killed, at(9))).unwrap();
    let binned = ended(&store, new(2, 0.5));
    store.delete(binned).unwrap();
    store.create(&new(3, 0.25)).unwrap();

    let query = Query::default().with_view(View::All);
    let mut text = Vec::new();
    assert_eq!(export_json_lines(&store, &query, &mut text).unwrap(), 3);
    let copy = InMemoryEvalStore::new();
    let imported = import_json_lines(&copy, &text[..]).unwrap();
    assert_eq!((imported.added, imported.skipped), (3, 0));
    let again = import_json_lines(&copy, &text[..]).unwrap();
    assert_eq!((again.added, again.skipped), (0, 3));
    let all = |store: &InMemoryEvalStore| format!("{:?}", store.query(&query).unwrap());
    assert_eq!(all(&copy), all(&store));
    assert_eq!(copy.series(run.id, &key).unwrap(), store.series(run.id, &key).unwrap());
    let mut second = Vec::new();
    export_json_lines(&copy, &query, &mut second).unwrap();
    assert_eq!(second, text);
    let error = import_json_lines(&copy, &b"\n{\"evaluation\": 3}\n"[..]).unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn a_table_has_a_column_for_every_key_and_quotes_what_needs_it() {
    let store = InMemoryEvalStore::new();
    ended(&store, new(1, 0.5).with_param("lr", 0.1).with_tag("note", "a, \"b\"\nc"));
    ended(&store, new(2, f64::NAN).with_metric("auc", 1.0));
    let mut text = Vec::new();
    assert_eq!(export_csv(&store, &Query::default(), &mut text).unwrap(), 2);
    let text = String::from_utf8(text).unwrap();
    let header = text.lines().next().unwrap();
    assert!(header.ends_with(",dataset,params.lr,metrics.auc,metrics.f1,tags.note"), "{header}");
    assert!(text.contains(",,1,NaN,\n"), "{text}");
    assert!(text.contains(",0.1,,0.5,\"a, \"\"b\"\"\nc\"\n"), "{text}");
}

#[test]
fn a_table_has_a_column_for_each_context_and_all_pages_of_its_query() {
    let store = InMemoryEvalStore::new();
    for second in 0..3 {
        let key = SeriesKey::new("loss").with_context("subset", "train").with_context("fold", "1");
        let batch = Batch::new().with_point(key, 0, at(1), second as f64);
        store.create_with(&new(second, 0.5), &batch).unwrap();
    }
    let mut text = Vec::new();
    assert_eq!(export_csv(&store, &Query::default().with_limit(1), &mut text).unwrap(), 3);
    let text = String::from_utf8(text).unwrap();
    let header = text.lines().next().unwrap();
    assert!(header.ends_with(",metrics.f1,\"metrics.loss[fold=1,subset=train]\""), "{header}");
    assert!(text.ends_with(",0.5,0\n"), "{text}");
}

#[test]
fn what_somebody_else_moved_to_the_bin_is_not_counted_and_not_purged() {
    let store = InMemoryEvalStore::new();
    let (mine, theirs) = (ended(&store, new(1, 0.5)), ended(&store, new(2, 0.5)));
    let rules = Retention::new().with_count_per_model(0);
    let mut plan = rules.plan(&store, &Filter::everything(), at(200)).unwrap();
    assert_eq!(plan.purge(&store).unwrap(), 0, "nothing was moved yet");
    store.delete(theirs).unwrap();
    assert_eq!(plan.carry_out(&store).unwrap(), 1);
    assert_eq!(plan.binned, [mine].into());
    assert_eq!(plan.purge(&store).unwrap(), 1);
    assert!(store.get(mine).is_err());
    assert!(store.get(theirs).is_ok(), "it was purged from the bin of somebody else");
}

#[test]
fn a_run_that_was_killed_goes_once_it_is_taken_for_abandoned() {
    let store = InMemoryEvalStore::new();
    let (killed, live) = (new(1, 0.5), new(190, 0.5));
    store.create(&killed).unwrap();
    store.create(&live).unwrap();
    let rules = Retention::new().with_count_per_model(0);
    let goes = |rules: &Retention| {
        let plan = rules.plan(&store, &Filter::everything(), at(200)).unwrap();
        plan.goes.iter().map(|verdict| verdict.id).collect::<Vec<_>>()
    };
    assert!(goes(&rules).is_empty());
    assert_eq!(goes(&rules.with_abandoned_after(Duration::from_secs(100))), [killed.id]);
}

#[test]
fn as_many_as_are_asked_for_are_kept_for_their_values() {
    let store = InMemoryEvalStore::new();
    for k in 0..2_500 {
        ended(&store, new(k, if k < 100 { f64::NAN } else { k as f64 }));
    }
    let rules =
        Retention::new().with_count_per_model(0).with_best("f1", Direction::Maximize, 2_300);
    let plan = rules.plan(&store, &Filter::everything(), at(1)).unwrap();
    assert_eq!((plan.kept.len(), plan.goes.len()), (2_300, 200));
    let rules =
        Retention::new().with_count_per_model(0).with_best("f1", Direction::Maximize, 9_999);
    let plan = rules.plan(&store, &Filter::everything(), at(1)).unwrap();
    assert_eq!((plan.kept.len(), plan.goes.len()), (2_400, 100), "NaN is no best value");
}

#[test]
fn more_parameters_and_tags_than_one_batch_takes_are_imported() {
    let store = InMemoryEvalStore::new();
    let run = new(1, 0.5);
    store.create(&run).unwrap();
    for from in [0, 100, 200] {
        let batch = (from..from + 100).fold(Batch::new(), |batch, k| {
            batch.with_param(format!("p{k}"), k).with_tag(format!("t{k}"), "")
        });
        store.write(run.id, &batch).unwrap();
    }
    let mut text = Vec::new();
    export_json_lines(&store, &Query::default(), &mut text).unwrap();
    let copy = InMemoryEvalStore::new();
    import_json_lines(&copy, &text[..]).unwrap();
    assert_eq!(copy.get(run.id).unwrap(), store.get(run.id).unwrap());
    assert_eq!(copy.get(run.id).unwrap().params.len(), 300);
}

#[test]
fn an_import_that_is_interrupted_anywhere_is_completed_by_the_next() {
    let store = InMemoryEvalStore::new();
    let run = new(1, 0.5).with_tag("a", "b");
    store.create(&run).unwrap();
    for from in (0..2_500).step_by(500) {
        let batch =
            (from..from + 500).fold(Batch::new(), |b, k| b.with_point("loss", k, at(k), 1.0));
        store.write(run.id, &batch).unwrap();
    }
    let binned = ended(&store, new(2, 0.5));
    store.delete(binned).unwrap();
    let query = Query::default().with_view(View::All);
    let mut text = Vec::new();
    export_json_lines(&store, &query, &mut text).unwrap();
    let all = |store: &InMemoryEvalStore| format!("{:?}", store.query(&query).unwrap());
    let mut interrupted = 0;
    for writes in 0..8 {
        let copy = Arc::new(InMemoryEvalStore::new());
        let full = |call: usize| (call >= 100).then_some(StoreError::StorageFull);
        let failing = Wrapper::failing(copy.clone(), 100 - writes, full);
        interrupted += usize::from(import_json_lines(&failing, &text[..]).is_err());
        import_json_lines(copy.as_ref(), &text[..]).unwrap();
        assert_eq!(all(&copy), all(&store), "after {writes} writes");
    }
    assert_eq!(interrupted, 5, "three batches, a creation and a deletion");
}

#[test]
fn an_import_changes_nothing_of_an_evaluation_that_went_on_since_the_copy() {
    let store = InMemoryEvalStore::new();
    let run = new(1, 0.5).with_tag("owner", "ada").with_tag("draft", "yes");
    store.create(&run).unwrap();
    let mut text = Vec::new();
    export_json_lines(&store, &Query::default(), &mut text).unwrap();
    store.write(run.id, &Batch::new().with_tag("owner", "grace").without_tag("draft")).unwrap();
    let now = store.get(run.id).unwrap();
    let imported = import_json_lines(&store, &text[..]).unwrap();
    assert_eq!((imported.added, imported.skipped), (0, 1));
    assert_eq!(store.get(run.id).unwrap(), now);
}

#[test]
fn a_copy_in_which_an_evaluation_has_ended_brings_up_one_that_still_runs() {
    let (store, archive) = (InMemoryEvalStore::new(), InMemoryEvalStore::new());
    let run = new(1, 0.5);
    store.create(&run).unwrap();
    let copied = || {
        let mut text = Vec::new();
        export_json_lines(&store, &Query::default(), &mut text).unwrap();
        text
    };
    let early = copied();
    import_json_lines(&archive, &early[..]).unwrap();
    for from in [0, 1_000] {
        let points =
            (from..from + 1_000).fold(Batch::new(), |b, k| b.with_point("loss", k, at(k), 1.0));
        store.write(run.id, &points).unwrap();
    }
    store.write(run.id, &Batch::new().finished(Status::Finished, at(9))).unwrap();
    for (copy, added) in [(copied(), 1), (copied(), 0), (early, 0)] {
        assert_eq!(import_json_lines(&archive, &copy[..]).unwrap().added, added);
        assert_eq!(archive.get(run.id).unwrap(), store.get(run.id).unwrap());
    }
}

#[test]
fn what_is_imported_in_part_is_marked_until_it_is_whole() {
    let store = InMemoryEvalStore::new();
    let run = new(1, 0.5);
    store.create(&run).unwrap();
    for from in (0..2_000).step_by(1_000) {
        let points =
            (from..from + 1_000).fold(Batch::new(), |b, k| b.with_point("loss", k, at(k), 1.0));
        store.write(run.id, &points).unwrap();
    }
    let copied = |store: &InMemoryEvalStore| {
        let mut text = Vec::new();
        export_json_lines(store, &Query::default(), &mut text).unwrap();
        text
    };
    let part = Arc::new(InMemoryEvalStore::new());
    let full = |call: usize| (call >= 1).then_some(StoreError::StorageFull);
    let failing = Wrapper::failing(part.clone(), 0, full);
    assert!(import_json_lines(&failing, &copied(&store)[..]).is_err());
    assert!(part.get(run.id).unwrap().tags.contains_key(IMPORTING));
    // A copy of the part is whole as a copy: the mark is not taken over.
    let other = InMemoryEvalStore::new();
    import_json_lines(&other, &copied(&part)[..]).unwrap();
    assert!(other.get(run.id).unwrap().tags.is_empty());
    // One batch is enough for that copy.
    assert_eq!(import_json_lines(part.as_ref(), &copied(&other)[..]).unwrap().added, 1);
    assert_eq!(part.get(run.id).unwrap(), other.get(run.id).unwrap());
}

#[test]
fn a_full_series_takes_what_it_has_again_and_nothing_new() {
    let store = InMemoryEvalStore::new();
    let run = new(1, 0.5);
    store.create(&run).unwrap();
    let points = |steps: std::ops::Range<i64>| {
        steps.fold(Batch::new(), |batch, step| batch.with_point("loss", step, at(step), 1.0))
    };
    let most = mlp_eval::MAX_POINTS as i64;
    for first in (0..most).step_by(1_000) {
        store.write(run.id, &points(first..first + 1_000)).unwrap();
    }
    store.write(run.id, &points(most - 1_000..most)).unwrap();
    let refused = store.write(run.id, &points(most - 1..most + 1));
    assert!(matches!(refused, Err(mlp_core::StoreError::LimitExceeded { .. })), "{refused:?}");
}
