//! The manager's side of its store: what is written when, and what becomes of it when the store fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlp_core::{StoreError, catch_panic};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::store::{AlertChange, AlertRows, AlertStore};

/// Writes changes to a store, if there is one.
///
/// Changes are noted while the locks of what changed are held, so that they are in order, and written by [`flush`](Self::flush) when they
/// are not: a slow store makes nobody wait who does not ask for its answer. What was noted together is written together.
///
/// A store that fails stops nobody from being told: from then on nothing is written until the whole state could be written anew, and nobody
/// waits for that who does not do it.
#[derive(Debug, Default)]
pub(crate) struct Book {
    store: Option<(Arc<dyn AlertStore>, u64)>,
    /// The last change of each key: it takes no more room the longer the store is not there.
    noted: Mutex<BTreeMap<String, Option<String>>>,
    condition: Mutex<Condition>,
    /// Held while the store is called. It is taken before the locks of what changes, never while one of them is held.
    turn: Mutex<()>,
}

#[derive(Debug, Default, Clone)]
enum Condition {
    #[default]
    Well,
    /// The store lacks something since this error.
    Behind(String),
    /// Another manager has the store.
    Superseded(String),
}

impl Book {
    /// Takes a store over, and gives what it keeps.
    pub(crate) fn open(store: Arc<dyn AlertStore>) -> Result<(Self, AlertRows), StoreError> {
        let (epoch, rows) = store.take_over()?;
        Ok((Self { store: Some((store, epoch)), ..Self::default() }, rows))
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.store.is_some()
    }

    /// Takes changes that belong together.
    pub(crate) fn note(&self, changes: Vec<AlertChange>) {
        if self.is_kept() && !changes.is_empty() {
            self.noted.lock().extend(changes);
        }
    }

    /// Has all written that was noted before, unless the store lacks something: then it is for [`replace`](Self::replace).
    pub(crate) fn flush(&self) {
        let Some((store, epoch)) = &self.store else { return };
        let turn = if self.is_behind() { self.turn.try_lock() } else { Some(self.turn.lock()) };
        let Some(_turn) = turn else { return };
        let noted = std::mem::take(&mut *self.noted.lock());
        let changes: Vec<AlertChange> = noted.into_iter().collect();
        if matches!(*self.condition.lock(), Condition::Well) && !changes.is_empty() {
            let condition = after(|| store.apply(*epoch, &changes));
            *self.condition.lock() = condition;
        }
    }

    /// Writes everything anew if the store lacks something. `snapshot` takes the locks under which changes are noted, and gives them with all
    /// rows; they are gone while the store is called.
    pub(crate) fn replace<L>(&self, snapshot: impl FnOnce() -> (AlertRows, L)) {
        let Some((store, epoch)) = &self.store else { return };
        let turn = self.turn.lock();
        if !self.is_behind() {
            return;
        }
        let (rows, locks) = snapshot();
        // The rows have all of it.
        self.noted.lock().clear();
        drop(locks);
        let condition = after(|| store.replace(*epoch, &rows));
        *self.condition.lock() = condition;
        drop(turn);
        // Who changed something meanwhile has not waited to have it written.
        self.flush();
    }

    pub(crate) fn is_behind(&self) -> bool {
        matches!(*self.condition.lock(), Condition::Behind(_))
    }

    pub(crate) fn is_superseded(&self) -> bool {
        matches!(*self.condition.lock(), Condition::Superseded(_))
    }

    pub(crate) fn fault(&self) -> Option<String> {
        match self.condition.lock().clone() {
            Condition::Well => None,
            Condition::Behind(fault) | Condition::Superseded(fault) => Some(fault),
        }
    }
}

/// The condition after a call of the store; a panic is a failure like any other.
fn after(call: impl FnOnce() -> Result<(), StoreError>) -> Condition {
    match catch_panic(call) {
        Ok(Ok(())) => Condition::Well,
        Ok(Err(error @ StoreError::Conflict { .. })) => Condition::Superseded(error.to_string()),
        Ok(Err(error)) => Condition::Behind(error.to_string()),
        Err(panicked) => Condition::Behind(panicked.to_string()),
    }
}

pub(crate) fn write(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data can be written")
}

pub(crate) fn read<T: DeserializeOwned>(key: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt {
        what: format!("alert state {key:?}"),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    /// Fails to apply once, and hangs while it is to write everything anew.
    #[derive(Debug)]
    struct Hanging {
        kept: Mutex<AlertRows>,
        is_well: Mutex<bool>,
        began: Sender<()>,
        may_end: Mutex<Receiver<()>>,
    }

    impl AlertStore for Hanging {
        fn load(&self) -> Result<AlertRows, StoreError> {
            Ok(self.kept.lock().clone())
        }

        fn take_over(&self) -> Result<(u64, AlertRows), StoreError> {
            Ok((1, AlertRows::new()))
        }

        fn apply(&self, _: u64, changes: &[AlertChange]) -> Result<(), StoreError> {
            if !std::mem::replace(&mut *self.is_well.lock(), true) {
                let (what, reason) = ("disk".to_owned(), "full".to_owned());
                return Err(StoreError::Corrupt { what, reason });
            }
            let mut kept = self.kept.lock();
            for (key, text) in changes.iter().cloned() {
                match text {
                    Some(text) => kept.insert(key, text),
                    None => kept.remove(&key),
                };
            }
            Ok(())
        }

        fn replace(&self, _: u64, rows: &AlertRows) -> Result<(), StoreError> {
            self.began.send(()).unwrap();
            self.may_end.lock().recv_timeout(Duration::from_secs(60)).unwrap();
            self.kept.lock().clone_from(rows);
            Ok(())
        }
    }

    #[test]
    fn while_the_store_hangs_the_last_change_of_each_key_is_held_and_then_written() {
        let (began, has_begun) = channel();
        let (end, may_end) = channel();
        let store = Arc::new(Hanging {
            kept: Mutex::default(),
            is_well: Mutex::new(false),
            began,
            may_end: Mutex::new(may_end),
        });
        let book = Book::open(Arc::clone(&store) as _).unwrap().0;
        let note = |key: &str, text: Option<String>| book.note(vec![(key.to_owned(), text)]);
        note("a", Some("lost".to_owned()));
        book.flush();
        assert!(book.is_behind());
        std::thread::scope(|scope| {
            let rows = AlertRows::from([("a", "1"), ("b", "1")].map(|(k, t)| (k.into(), t.into())));
            scope.spawn(|| book.replace(move || (rows, ())));
            has_begun.recv_timeout(Duration::from_secs(60)).unwrap();
            for turn in 0..10_000 {
                note("a", None);
                note("a", Some(format!("turn {turn}")));
                note("b", Some(format!("turn {turn}")));
                note("b", None);
                book.flush();
            }
            let held = book.noted.lock().len();
            end.send(()).unwrap();
            assert_eq!(held, 2);
        });
        let kept = store.load().unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(kept, [("a".to_owned(), "turn 9999".to_owned())]);
        assert!(book.fault().is_none());
    }
}
