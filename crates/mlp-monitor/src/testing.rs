//! The contract of [`AlertStore`], executable against any backend.

use mlp_core::StoreError;

use crate::alerts::{AlertChange, AlertRows, AlertStore};

fn set(key: &str, text: &str) -> AlertChange {
    (key.to_owned(), Some(text.to_owned()))
}

fn remove(key: &str) -> AlertChange {
    (key.to_owned(), None)
}

fn rows(pairs: &[(&str, &str)]) -> AlertRows {
    pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

/// Runs the contract against an empty store.
///
/// # Panics
/// If the store breaks it.
pub fn check_alert_store(store: &dyn AlertStore) {
    let (first, kept) = store.take_over().expect("an empty store can be taken over");
    assert_eq!(kept, AlertRows::new(), "it is empty");
    store.apply(first, &[set("b", "1"), set("a", "2"), set("c", "3")]).expect("changes are taken");
    store
        .apply(first, &[remove("b"), set("c", "4"), remove("unknown"), set("d", "5"), remove("d")])
        .expect("changes are taken");
    store.apply(first, &[]).expect("no changes are taken");

    let read = store.load().expect("a store can be read");
    assert_eq!(read, rows(&[("a", "2"), ("c", "4")]), "what is kept can be read");
    store.apply(first, &[]).expect("reading takes nothing over");

    let (second, kept) = store.take_over().expect("a store can be taken over");
    assert!(second > first, "epochs rise");
    assert_eq!(kept, rows(&[("a", "2"), ("c", "4")]), "changes apply in their order");

    check_epochs(store, first, second);
    let second = check_texts(store, second);

    let anew = rows(&[("x", "1"), ("c", "2")]);
    store.replace(second, &anew).expect("rows can be replaced");
    let (third, kept) = store.take_over().expect("a store can be taken over");
    assert_eq!(kept, anew, "nothing but the new rows is left");
    store.replace(third, &AlertRows::new()).expect("rows can be replaced by none");
    assert_eq!(store.take_over().expect("a store can be taken over").1, AlertRows::new());
}

fn check_epochs(store: &dyn AlertStore, over: u64, current: u64) {
    for refused in [
        store.apply(over, &[set("a", "stale")]),
        store.replace(over, &rows(&[("a", "stale")])),
        store.apply(current + 1, &[set("a", "early")]),
    ] {
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "another epoch: {refused:?}");
    }
}

fn check_texts(store: &dyn AlertStore, epoch: u64) -> u64 {
    let long = "é".repeat(1 << 19);
    let texts =
        ["", " ", "\0", "'; DROP TABLE alert_state; --", "%_*?", "\u{202e}🦀\n", "NULL", &long];
    let named: Vec<AlertChange> =
        texts.iter().map(|text| set(&format!("text {text}"), text)).collect();
    store.apply(epoch, &named).expect("any text is taken");
    let (epoch, kept) = store.take_over().expect("a store can be taken over");
    let mut expected = rows(&[("a", "2"), ("c", "4")]);
    expected.extend(texts.iter().map(|text| (format!("text {text}"), (*text).to_owned())));
    assert_eq!(
        kept, expected,
        "texts come back as written, and refused writes have changed nothing"
    );
    epoch
}

/// Checks that what was written is there when the store is opened again.
///
/// # Panics
/// If the store breaks it.
pub fn check_reopening<S: AlertStore>(open: impl Fn() -> S) {
    let store = open();
    let (epoch, _) = store.take_over().expect("a store can be taken over");
    store.apply(epoch, &[set("kept", "yes"), set("gone", "no")]).expect("changes are taken");
    store.apply(epoch, &[remove("gone")]).expect("changes are taken");
    drop(store);
    let (again, kept) = open().take_over().expect("a store can be taken over");
    assert!(again > epoch, "epochs rise over a restart");
    assert_eq!(kept, rows(&[("kept", "yes")]));
}
