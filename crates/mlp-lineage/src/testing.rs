//! The contracts of the three traits, executable: a backend calls the function of its trait with one that opens a fresh store.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a check fails by panicking")]

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlp_core::{
    ContentHash, DatasetRef, ModelName, ParamValue, RecordId, StoreError, Timestamp, VersionNumber,
};

use crate::artifact::{ArtifactStore, ArtifactStoreExt};
use crate::chain::{Deployment, Event};
use crate::graph::Node;
use crate::record::Record;
use crate::registry::{Alias, ModelRegistry, Protection, VersionStage};
use crate::store::{LineageStore, LineageStoreExt};

type Check<T> = (&'static str, fn(&T));

fn run<T: ?Sized>(checks: &[Check<T>], mut with: impl FnMut(&dyn Fn(&T))) {
    for (name, check) in checks {
        let result = catch_unwind(AssertUnwindSafe(|| with(&|store| check(store))));
        assert!(result.is_ok(), "the store breaks its contract: {name}");
    }
}

/// Runs every check of [`LineageStore`], each on a fresh store from `open`.
pub fn check_lineage<S: LineageStore>(open: impl Fn() -> S) {
    let checks: &[Check<dyn LineageStore>] = &[
        ("a_record_comes_back_as_written", a_record_comes_back_as_written),
        ("an_id_is_taken_once", an_id_is_taken_once),
        ("what_is_taken_can_be_read_and_the_rest_is_refused", what_is_taken_can_be_read),
        ("corrections_are_found", corrections_are_found),
        ("what_is_referred_to_is_there_already", what_is_referred_to_is_there_already),
        ("entries_form_a_chain_without_gaps", entries_form_a_chain_without_gaps),
        ("deployments_are_told_in_order", deployments_are_told_in_order),
        ("the_graph_is_walked_both_ways", the_graph_is_walked_both_ways),
        ("eight_writers_make_one_chain", eight_writers_make_one_chain),
    ];
    run(checks, |check| check(&open()));
}

/// Runs every check of [`ArtifactStore`], each on a fresh store from `open`.
pub fn check_artifacts<S: ArtifactStore>(open: impl Fn() -> S) {
    let checks: &[Check<dyn ArtifactStore>] = &[
        ("what_was_put_comes_back", what_was_put_comes_back),
        ("the_same_content_is_one_artifact", the_same_content_is_one_artifact),
        ("a_failed_put_leaves_nothing", a_failed_put_leaves_nothing),
        ("a_removed_artifact_is_gone", a_removed_artifact_is_gone),
        ("only_what_is_old_is_removed_by_age", only_what_is_old_is_removed_by_age),
    ];
    run(checks, |check| check(&open()));
}

/// Runs every check of [`ModelRegistry`], each on a fresh registry from `open`.
pub fn check_registry<R: ModelRegistry>(open: impl Fn() -> R) {
    let checks: &[Check<dyn ModelRegistry>] = &[
        ("a_number_is_never_reused", a_number_is_never_reused),
        ("an_alias_moves_and_the_move_is_recorded", an_alias_moves_and_the_move_is_recorded),
        ("a_deleted_version_takes_its_aliases_along", a_deleted_version_takes_its_aliases_along),
        ("a_protected_alias_needs_an_approver", a_protected_alias_needs_an_approver),
        ("names_resolve", names_resolve),
        ("a_stage_is_changed_and_the_change_recorded", a_stage_is_changed),
        ("tags_overwrite_and_are_bounded", tags_overwrite_and_are_bounded),
        ("concurrent_registrations_get_different_numbers", concurrent_registrations),
    ];
    run(checks, |check| check(&open()));
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn name(name: &str) -> ModelName {
    ModelName::new(name).unwrap()
}

fn record() -> Record {
    Record::new(name("wine"), at(1))
}

fn a_record_comes_back_as_written(store: &dyn LineageStore) {
    let text = "naïve \u{1F377} \u{0} \"';--\n";
    let written = record()
        .with_author(text)
        .with_parameter("nan", f64::INFINITY)
        .with_parameter("third", 1.0 / 3.0)
        .with_seed("split", u64::MAX)
        .with_description("x".repeat(1 << 20));
    store.record(written.clone()).unwrap();
    assert_eq!(store.get(written.id).unwrap(), written);
    assert_eq!(store.records_of(&name("wine")).unwrap(), [written]);
    assert_eq!(store.records_of(&name("beer")).unwrap(), []);
    assert!(matches!(store.get(RecordId::generate()), Err(StoreError::NotFound { .. })));
}

fn an_id_is_taken_once(store: &dyn LineageStore) {
    let first = record();
    let head = store.record(first.clone()).unwrap();
    let again = store.record(first.clone().with_author("somebody else"));
    assert!(matches!(again, Err(StoreError::Conflict { .. })));
    assert_eq!(store.get(first.id).unwrap(), first);
    assert_eq!(store.head().unwrap(), Some(head));
}

fn what_is_taken_can_be_read(store: &dyn LineageStore) {
    let nested = |depth: usize| {
        (0..depth).fold(ParamValue::List(Vec::new()), |inner, _| ParamValue::List(vec![inner]))
    };
    let refused = store.record(record().with_parameter("nested", nested(200)));
    assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{refused:?}");
    assert_eq!(store.head().unwrap(), None);
    let mut taken = record().with_parameter("nested", nested(20)).with_parameter("nan", f64::NAN);
    taken.created_at = Timestamp::from_micros(i64::MAX);
    store.record(taken.clone()).unwrap();
    let far = Deployment {
        record: taken.id,
        target: "eu".into(),
        at: Timestamp::from_micros(i64::MIN),
        by: None,
    };
    store.deployed(far.clone()).unwrap();
    assert_eq!(store.get(taken.id).unwrap().to_json().unwrap(), taken.to_json().unwrap());
    assert_eq!(store.deployments_of(taken.id).unwrap(), [far]);
    assert_eq!(store.verify_chain(None).unwrap(), None);
}

fn corrections_are_found(store: &dyn LineageStore) {
    let wrong = record();
    let right = record().correcting(wrong.id).with_author("ann");
    for record in [&wrong, &right] {
        store.record(record.clone()).unwrap();
    }
    assert_eq!(store.corrections_of(wrong.id).unwrap(), std::slice::from_ref(&right));
    assert_eq!(store.corrections_of(right.id).unwrap(), []);
}

fn what_is_referred_to_is_there_already(store: &dyn LineageStore) {
    let own = record();
    let itself = own.clone().with_parent(own.id);
    let (parent, corrected) =
        (record().with_parent(RecordId::generate()), record().correcting(RecordId::generate()));
    for bad in [itself, parent, corrected] {
        assert!(matches!(store.record(bad), Err(StoreError::NotFound { .. })));
    }
    let nowhere =
        Deployment { record: RecordId::generate(), target: "eu".into(), at: at(1), by: None };
    assert!(matches!(store.deployed(nowhere), Err(StoreError::NotFound { .. })));
    assert_eq!(store.head().unwrap(), None);
    store.record(own.clone()).unwrap();
    store.record(record().with_parent(own.id).correcting(own.id)).unwrap();
}

fn entries_form_a_chain_without_gaps(store: &dyn LineageStore) {
    let heads: Vec<_> = (0..5).map(|_| store.record(record()).unwrap()).collect();
    let entries = store.entries(0, 100).unwrap();
    assert_eq!(entries.iter().map(|entry| entry.head()).collect::<Vec<_>>(), heads);
    assert_eq!(store.verify_chain(heads.last().copied()).unwrap(), None);
    assert_eq!(store.entries(3, 1).unwrap(), entries[3..4]);
    assert_eq!(store.entries(5, 1).unwrap(), []);
    assert_eq!(store.entries(u64::MAX, usize::MAX).unwrap(), []);
}

fn deployments_are_told_in_order(store: &dyn LineageStore) {
    let (one, other) = (record(), record());
    store.record(one.clone()).unwrap();
    store.record(other.clone()).unwrap();
    let to = |target: &str| Deployment {
        record: one.id,
        target: target.into(),
        at: at(2),
        by: Some("ann".into()),
    };
    for target in ["us", "eu"] {
        store.append(Event::Deployed(to(target))).unwrap();
    }
    assert_eq!(store.deployments_of(one.id).unwrap(), [to("us"), to("eu")]);
    assert_eq!(store.deployments_of(other.id).unwrap(), []);
    assert!(store.deployments_of(RecordId::generate()).is_err());
}

fn the_graph_is_walked_both_ways(store: &dyn LineageStore) {
    let dataset = |k: u8| DatasetRef {
        name: format!("data{k}"),
        version: "1".to_owned(),
        fingerprint: ContentHash::from_bytes([k; 32]),
    };
    let base = record().with_dataset("train", dataset(1)).with_dataset("test", dataset(2));
    let tuned = record().with_dataset("train", dataset(1)).with_parent(base.id);
    let other = record().with_dataset("train", dataset(3));
    for record in [&base, &tuned, &other] {
        store.record(record.clone()).unwrap();
    }
    let to =
        |target: &str| Deployment { record: tuned.id, target: target.into(), at: at(2), by: None };
    store.deployed(to("eu")).unwrap();
    store.deployed(to("eu")).unwrap();
    let data = |k: u8| Node::Dataset(ContentHash::from_bytes([k; 32]));
    let place = Node::Deployment(tuned.id, "eu".to_owned());
    let sorted = |mut nodes: Vec<Node>| {
        nodes.sort();
        nodes
    };
    let of = |record: &Record| Node::Record(record.id);
    let ancestors = |node: &Node| sorted(store.ancestors(node).unwrap());
    let descendants = |node: &Node| sorted(store.descendants(node).unwrap());
    assert_eq!(ancestors(&place), sorted(vec![data(1), data(2), of(&base), of(&tuned)]));
    assert_eq!(descendants(&data(1)), sorted(vec![of(&base), of(&tuned), place.clone()]));
    assert_eq!(descendants(&data(3)), [of(&other)]);
    assert_eq!(ancestors(&data(1)), []);
    assert_eq!(ancestors(&Node::Record(RecordId::generate())), []);
    let graph = store.graph().unwrap();
    for node in graph.nodes() {
        assert_eq!(ancestors(node), sorted(graph.ancestors(node)));
        assert_eq!(descendants(node), sorted(graph.descendants(node)));
    }
}

fn eight_writers_make_one_chain(store: &dyn LineageStore) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..20).for_each(|_| {
                    store.record(record()).unwrap();
                })
            });
        }
    });
    assert_eq!(store.all_entries().unwrap().len(), 160);
    assert_eq!(store.verify_chain(None).unwrap(), None);
}

fn what_was_put_comes_back(store: &dyn ArtifactStore) {
    for bytes in [&b""[..], b"weights", &vec![7; 300_000]] {
        let artifact = store.put_bytes(bytes).unwrap();
        assert_eq!(artifact.size, bytes.len() as u64);
        assert_eq!(artifact.hash.as_bytes(), blake3::hash(bytes).as_bytes());
        assert_eq!(store.read(artifact.hash).unwrap(), bytes);
    }
    let unknown = store.read(ContentHash::from_bytes([9; 32]));
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
}

fn the_same_content_is_one_artifact(store: &dyn ArtifactStore) {
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| store.put_bytes(b"same").unwrap());
        }
    });
    let listed = store.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(store.read(listed[0].artifact.hash).unwrap(), b"same");
}

fn a_failed_put_leaves_nothing(store: &dyn ArtifactStore) {
    #[derive(Debug)]
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the line broke"))
        }
    }
    store.put(&mut b"some bytes first".chain(Broken)).unwrap_err();
    assert_eq!(store.list().unwrap(), []);
}

fn a_removed_artifact_is_gone(store: &dyn ArtifactStore) {
    let artifact = store.put_bytes(b"old").unwrap();
    for _ in 0..2 {
        store.remove(artifact.hash).unwrap();
    }
    assert!(matches!(store.read(artifact.hash), Err(StoreError::NotFound { .. })));
    assert_eq!(store.list().unwrap(), []);
}

fn only_what_is_old_is_removed_by_age(store: &dyn ArtifactStore) {
    let (old, missing) = (store.put_bytes(b"old").unwrap(), ContentHash::from_bytes([9; 32]));
    let stored_at = store.list().unwrap()[0].stored_at;
    let later = stored_at.after(std::time::Duration::from_secs(1));
    assert!(
        !store.remove_stored_before(old.hash, stored_at).unwrap(),
        "it is not older than itself"
    );
    assert!(!store.remove_stored_before(missing, later).unwrap());
    assert_eq!(store.read(old.hash).unwrap(), b"old");
    assert!(store.remove_stored_before(old.hash, later).unwrap());
    assert_eq!(store.list().unwrap(), []);
}

fn register(registry: &dyn ModelRegistry) -> VersionNumber {
    registry.register(&name("wine"), RecordId::generate(), at(1)).unwrap()
}

fn a_number_is_never_reused(registry: &dyn ModelRegistry) {
    let numbers = [register(registry), register(registry)];
    assert_eq!(numbers, [VersionNumber(1), VersionNumber(2)]);
    registry.delete_version(&name("wine"), numbers[1], at(2), None).unwrap();
    assert!(registry.version(&name("wine"), numbers[1]).is_err());
    assert!(registry.delete_version(&name("wine"), numbers[1], at(2), None).is_err());
    assert_eq!(register(registry), VersionNumber(3));
    let left: Vec<_> =
        registry.versions(&name("wine")).unwrap().iter().map(|v| v.version).collect();
    assert_eq!(left, [VersionNumber(1), VersionNumber(3)]);
    assert_eq!(registry.versions(&name("beer")).unwrap(), []);
}

fn an_alias_moves_and_the_move_is_recorded(registry: &dyn ModelRegistry) {
    let (wine, champion): (_, Alias) = (name("wine"), "champion".parse().unwrap());
    let (one, two) = (register(registry), register(registry));
    for version in [Some(one), Some(two), None] {
        registry.set_alias(&wine, &champion, version, at(2), Some("ann")).unwrap();
    }
    assert!(registry.aliases(&wine).unwrap().is_empty());
    let moves: Vec<_> =
        registry.moves(&wine).unwrap().into_iter().map(|m| (m.from, m.to)).collect();
    assert_eq!(moves, [(None, Some(one)), (Some(one), Some(two)), (Some(two), None)]);
    let missing = registry.set_alias(&wine, &champion, Some(VersionNumber(9)), at(2), None);
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
}

fn a_deleted_version_takes_its_aliases_along(registry: &dyn ModelRegistry) {
    let wine = name("wine");
    let (one, two) = (register(registry), register(registry));
    registry.set_alias(&wine, &"old".parse().unwrap(), Some(one), at(1), None).unwrap();
    registry.set_alias(&wine, &"new".parse().unwrap(), Some(two), at(1), None).unwrap();
    registry.delete_version(&wine, one, at(2), Some("ann")).unwrap();
    let left: Vec<_> = registry.aliases(&wine).unwrap().into_keys().collect();
    assert_eq!(left, ["new".parse().unwrap()]);
    let told = registry.transitions(&wine).unwrap();
    assert_eq!(
        (told[0].version, told[0].to, told[0].by.as_deref()),
        (one, VersionStage::Deleted, Some("ann"))
    );
    let refused = registry.set_stage(&wine, two, VersionStage::Deleted, at(3), None);
    assert!(matches!(refused, Err(StoreError::Invalid { .. })));
}

fn a_protected_alias_needs_an_approver(registry: &dyn ModelRegistry) {
    let (wine, champion): (_, Alias) = (name("wine"), "champion".parse().unwrap());
    let protect = |protection, by| registry.protect(&wine, &champion, protection, at(3), by);
    assert!(protect(Protection::Protected, None).is_err(), "no such model");
    let one = register(registry);
    protect(Protection::Protected, None).unwrap();
    protect(Protection::Protected, None).unwrap();
    for nobody in [None, Some(""), Some(" ")] {
        let refused = registry.set_alias(&wine, &champion, Some(one), at(1), nobody);
        assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    }
    registry.set_alias(&wine, &champion, Some(one), at(1), Some("ann")).unwrap();
    assert_eq!(registry.moves(&wine).unwrap()[1].approver.as_deref(), Some("ann"));
    assert!(registry.set_alias(&wine, &champion, None, at(1), None).is_err());
    let deleted = registry.delete_version(&wine, one, at(2), Some("ann"));
    assert!(matches!(deleted, Err(StoreError::Conflict { .. })));
    for nobody in [None, Some(" ")] {
        assert!(matches!(protect(Protection::Open, nobody), Err(StoreError::Conflict { .. })));
    }
    protect(Protection::Open, Some("bob")).unwrap();
    let moves = registry.moves(&wine).unwrap();
    let told: Vec<_> = moves.iter().map(|m| (m.protection, m.to, m.approver.as_deref())).collect();
    let expected = [
        (Some(Protection::Protected), None, None),
        (None, Some(one), Some("ann")),
        (Some(Protection::Open), Some(one), Some("bob")),
    ];
    assert_eq!(told, expected);
    registry.delete_version(&wine, one, at(2), Some("ann")).unwrap();
}

fn a_stage_is_changed(registry: &dyn ModelRegistry) {
    let (wine, one) = (name("wine"), register(registry));
    assert_eq!(registry.version(&wine, one).unwrap().stage, VersionStage::None);
    let to = |stage, by| registry.set_stage(&wine, one, stage, at(2), by).unwrap();
    to(VersionStage::Staging, None);
    to(VersionStage::Staging, Some("nobody"));
    to(VersionStage::Production, Some("ann"));
    assert_eq!(registry.version(&wine, one).unwrap().stage, VersionStage::Production);
    let transitions = registry.transitions(&wine).unwrap();
    let told: Vec<_> = transitions.iter().map(|t| (t.from, t.to, t.by.as_deref())).collect();
    let expected = [
        (VersionStage::None, VersionStage::Staging, None),
        (VersionStage::Staging, VersionStage::Production, Some("ann")),
    ];
    assert_eq!(told, expected);
    let missing = registry.set_stage(&wine, VersionNumber(9), VersionStage::Staging, at(2), None);
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    assert_eq!(registry.models().unwrap(), [wine]);
}

fn tags_overwrite_and_are_bounded(registry: &dyn ModelRegistry) {
    let (wine, one) = (name("wine"), register(registry));
    let set = |name: &str, value: Option<&str>| registry.set_tag(&wine, one, name, value);
    for value in ["red", "it's \"blue\"\u{0}"] {
        set("team", Some(value)).unwrap();
        assert_eq!(registry.version(&wine, one).unwrap().tags["team"], value);
    }
    set("team", None).unwrap();
    assert!(matches!(set("team", None), Err(StoreError::NotFound { .. })));
    assert!(set("", Some("x")).is_err() && set("a\nb", Some("x")).is_err());
    for k in 0..100 {
        set(&format!("t{k}"), Some("x")).unwrap();
    }
    assert!(matches!(set("one more", Some("x")), Err(StoreError::LimitExceeded { .. })));
    set("t7", Some("y")).unwrap();
    assert_eq!(registry.version(&wine, one).unwrap().tags.len(), 100);
    assert!(registry.set_tag(&wine, VersionNumber(9), "a", Some("b")).is_err());
}

fn names_resolve(registry: &dyn ModelRegistry) {
    let wine = name("wine");
    let (one, two) = (register(registry), register(registry));
    registry.set_alias(&wine, &"champion".parse().unwrap(), Some(one), at(1), None).unwrap();
    for (text, version) in [("latest", two), ("v1", one), ("champion", one)] {
        assert_eq!(registry.resolve(&wine, text).unwrap().version, version, "{text}");
    }
    for text in ["Champion", "v9", "v", "v+1", "", "../etc"] {
        assert!(registry.resolve(&wine, text).is_err(), "{text}");
    }
    for reserved in ["latest", "Latest", "v1", "V007", "", "a b", "a/b", "..\\"] {
        assert!(reserved.parse::<Alias>().is_err(), "{reserved:?} was taken");
    }
}

fn concurrent_registrations(registry: &dyn ModelRegistry) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..20).for_each(|_| {
                    register(registry);
                })
            });
        }
    });
    let versions = registry.versions(&name("wine")).unwrap();
    assert!(versions.iter().map(|v| v.version.0).eq(1..=160));
}
