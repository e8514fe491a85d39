//! Which SQLite may be under the library: the one that is compiled in, or the system's if the build was told so.

use mlp_core::StoreError;

/// 3.51.3, the first in which a log that is begun anew while others write and copy it cannot damage the file
/// (<https://www.sqlite.org/wal.html>, "The WAL-Reset Bug").
const OLDEST: i32 = 3_051_003;

/// 3.53.0, whose code [`gather`](crate::gather) was proved with.
const OLDEST_GATHERED: i32 = 3_053_000;

/// Refuses a SQLite that is too old, by its number (`SQLITE_VERSION_NUMBER`).
pub(crate) fn check_version(number: i32) -> Result<(), StoreError> {
    if number >= OLDEST {
        return Ok(());
    }
    let reason = format!("it is {}, at least {} is needed", name(number), name(OLDEST));
    Err(StoreError::invalid("SQLite", reason))
}

/// Whether what is written to the log of a SQLite may be gathered.
pub(crate) fn may_gather(number: i32) -> bool {
    number >= OLDEST_GATHERED
}

/// A number as SQLite's version is written: 3051003 is 3.51.3.
fn name(number: i32) -> String {
    format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_that_is_too_old_is_refused_by_its_name() {
        for (number, is) in
            [(3_051_002, "3.51.2"), (3_050_007, "3.50.7"), (3_008_011, "3.8.11"), (0, "0.0.0")]
        {
            let refused = check_version(number).unwrap_err().to_string();
            let said = format!("SQLite is invalid: it is {is}, at least 3.51.3 is needed");
            assert_eq!(refused, said);
        }
        for number in [3_051_003, 3_052_000, 4_000_000, rusqlite::version_number()] {
            assert!(check_version(number).is_ok(), "{number}");
        }
    }

    #[test]
    fn nothing_is_gathered_for_a_sqlite_before_the_one_of_the_proof() {
        assert!(!may_gather(3_051_003) && !may_gather(3_052_999));
        assert!(may_gather(3_053_000) && may_gather(3_053_002));
    }
}
