//! Connections that only read: each in use by one thread at a time.

use mlp_core::StoreError;
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::error::store;
use crate::identity::Identity;

/// How many idle connections are kept; more are opened while more threads read, and closed afterwards.
const KEPT: usize = 8;

pub(crate) struct Readers {
    idle: Mutex<Vec<Connection>>,
    file: Identity,
    open: Box<dyn Fn() -> Result<Connection, StoreError> + Send + Sync>,
}

impl Readers {
    pub(crate) fn new(
        file: Identity,
        open: impl Fn() -> Result<Connection, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self { idle: Mutex::default(), file, open: Box::new(open) }
    }

    /// Reads within one transaction: all of it sees one state.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.file.check()?;
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => (self.open)()?,
        };
        let execute = |sql: &str| {
            connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]))
        };
        execute("BEGIN").map_err(store)?;
        let result = work(&connection);
        // A connection that cannot end its transaction is dropped, which ends it.
        if execute("COMMIT").is_ok() {
            let mut idle = self.idle.lock();
            if idle.len() < KEPT {
                idle.push(connection);
            }
        }
        result
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("idle", &self.idle.lock().len()).finish_non_exhaustive()
    }
}
