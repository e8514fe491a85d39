//! Which studies of this process are there.

use std::collections::BTreeSet;

use parking_lot::Mutex;

static STUDIES: Mutex<Studies> = Mutex::new(Studies { next: 1, living: BTreeSet::new() });

struct Studies {
    next: u64,
    living: BTreeSet<u64>,
}

/// The number of a study in this process, for as long as there is the study.
#[derive(Debug)]
pub(super) struct Instance(u64);

impl Instance {
    pub(super) fn new() -> Self {
        let mut studies = STUDIES.lock();
        let number = studies.next;
        studies.next += 1;
        studies.living.insert(number);
        Self(number)
    }

    pub(super) fn number(&self) -> u64 {
        self.0
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        STUDIES.lock().living.remove(&self.0);
    }
}

/// Whether a study of this process is there.
pub(super) fn is_living(number: u64) -> bool {
    STUDIES.lock().living.contains(&number)
}
