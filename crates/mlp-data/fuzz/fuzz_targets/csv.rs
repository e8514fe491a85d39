#![no_main]
//! Any bytes are a table or an error; a table survives being written and read again.

use libfuzzer_sys::fuzz_target;
use mlp_data::{ReadOptions, NonFinite, RowOrder, TargetKind, read_csv_from, write_csv_to};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, file)) = input.split_first() else { return };
    let plain = ReadOptions::new().with_non_finite(NonFinite::Accept);
    let options = match choice % 4 {
        0 => plain.clone(),
        1 => plain.clone().with_target("y", TargetKind::Classes),
        2 => plain.clone().with_target("y", TargetKind::Detect { max_classes: 3 }),
        _ => plain.clone().with_categories("c").with_missing(["", "NA"]),
    };
    let table = match read_csv_from(file, "fuzz", &options) {
        Ok(table) => table,
        Err(error) => {
            assert!(!error.to_string().contains('\n'));
            return;
        }
    };
    if choice % 4 != 0 {
        return;
    }
    let mut written = Vec::new();
    write_csv_to(&mut written, &table).unwrap();
    let again = read_csv_from(&written[..], "fuzz", &plain).unwrap();
    assert_eq!(again.fingerprint(RowOrder::Matters), table.fingerprint(RowOrder::Matters));
});
