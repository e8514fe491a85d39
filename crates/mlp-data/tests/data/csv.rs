//! Reading what is there, and reading back what was written.

use mlp_data::{
    NonFinite, ReadOptions, RowOrder, Table, TargetColumn, TargetKind, read_csv, read_csv_from,
    write_csv, write_csv_to,
};
use ndarray::{Array2, array};
use proptest::prelude::*;

fn read(file: &str, options: &ReadOptions) -> Table {
    read_csv_from(file.as_bytes(), "a.csv", options).unwrap()
}

fn target(file: &str, kind: TargetKind) -> TargetColumn {
    read(file, &ReadOptions::new().with_target("y", kind)).target().clone()
}

fn classes(labels: &[usize], classes: &[&str]) -> TargetColumn {
    let classes = classes.iter().map(|&class| class.to_owned()).collect();
    TargetColumn::Classes { name: "y".to_owned(), labels: labels.to_vec(), classes }
}

fn values(values: &[f64]) -> TargetColumn {
    TargetColumn::Values { name: "y".to_owned(), values: values.to_vec() }
}

#[test]
fn a_target_is_what_the_option_says() {
    let few = "x,y\n0,10\n0,9\n0,10.0\n";
    assert_eq!(target(few, TargetKind::Values), values(&[10.0, 9.0, 10.0]));
    assert_eq!(target(few, TargetKind::Classes), classes(&[1, 0, 1], &["9", "10"]));
    let detect = TargetKind::Detect { max_classes: 2 };
    assert_eq!(target(few, detect.clone()), classes(&[1, 0, 1], &["9", "10"]));
    let many = "x,y\n0,1\n0,2\n0,3\n";
    assert_eq!(target(many, detect.clone()), values(&[1.0, 2.0, 3.0]));
    assert_eq!(target("x,y\n0,1\n0,2.5\n", detect.clone()), values(&[1.0, 2.5]));
    assert_eq!(target("x,y\n0,b\n0,a\n", detect), classes(&[1, 0], &["a", "b"]));
    let known = TargetKind::Known { classes: vec!["1".to_owned(), "0".to_owned()] };
    assert_eq!(target("x,y\n0,1.0\n0,1\n", known), classes(&[0, 0], &["1", "0"]));
}

#[test]
fn a_target_of_numbers_with_a_stray_text_is_an_error_and_not_a_class() {
    let detect = ReadOptions::new().with_target("y", TargetKind::Detect { max_classes: 5 });
    for file in ["x,y\n0,1\n0,oops\n0,0\n", "x,y\n0,oops\n0,1\n0,0\n"] {
        let error = read_csv_from(file.as_bytes(), "a.csv", &detect).unwrap_err();
        assert!(error.to_string().ends_with("\"oops\" is not a number"), "{error}");
    }
}

#[test]
fn every_role_of_a_column_is_read() {
    let options = ReadOptions::new()
        .with_target("y", TargetKind::Values)
        .with_weights("w")
        .with_groups("g")
        .with_row_ids("id")
        .with_ignored(["note"])
        .with_delimiter(';');
    let table = read("id;x;w;g;note;y\na;1.5;2;7;free text;3\nb;2.5;0;8;\"a;b\";4\n", &options);
    assert_eq!(table.names(), ["x"]);
    assert_eq!(table.row_ids().unwrap(), ["a", "b"]);
    assert_eq!(table.weights().unwrap(), [2.0, 0.0]);
    assert_eq!(table.groups().unwrap(), [7, 8]);
    assert_eq!(table.target(), &values(&[3.0, 4.0]));
    assert_eq!(table.source(1), Some(("a.csv", 3)));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_name() {
    assert_eq!(read("\u{feff}a,b\n1,2\n", &ReadOptions::new()).names(), ["a", "b"]);
}

#[test]
fn options_are_data_and_unknown_keys_are_refused() {
    let options = ReadOptions::new().with_target("y", TargetKind::Detect { max_classes: 3 });
    let json = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<ReadOptions>(&json).unwrap(), options);
    assert!(serde_json::from_str::<ReadOptions>(r#"{"delimeter": ","}"#).is_err());
}

#[test]
fn a_file_is_written_whole_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let table = read("a,b\n1,2\n", &ReadOptions::new());
    write_csv(&path, &table).unwrap();
    write_csv(&path, &table).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a,b\n1.0,2.0\n");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    assert_eq!(read_csv(&path, &ReadOptions::new()).unwrap().features(), table.features());
    assert!(write_csv(folder.path().join("no/such/folder.csv"), &table).is_err());
}

#[test]
fn a_missing_category_is_an_empty_cell_and_no_text() {
    let nan = f64::NAN;
    let round_trip = |table: &Table| {
        let mut bytes = Vec::new();
        write_csv_to(&mut bytes, table).unwrap();
        let options = ReadOptions::new()
            .with_non_finite(NonFinite::Accept)
            .with_missing([""])
            .with_categories("c");
        (String::from_utf8(bytes.clone()).unwrap(), read_csv_from(&bytes[..], "a.csv", &options))
    };
    let features = array![[0.0, 1.5], [nan, nan], [1.0, 2.5]];
    let table = Table::new(["c", "x"], features).unwrap();
    // A text may be what a missing number is called.
    let table = table.with_dictionary("c", ["NaN", "red"]).unwrap();
    let (file, read) = round_trip(&table);
    assert_eq!(file, "c,x\nNaN,1.5\n,NaN\nred,2.5\n");
    let read = read.unwrap();
    assert_eq!(read.fingerprint(RowOrder::Matters), table.fingerprint(RowOrder::Matters));
    let alone = table.select_columns(&["c"]).unwrap();
    let read = round_trip(&alone).1.unwrap();
    assert_eq!(read.n_rows(), 3, "an empty cell alone in its line is no blank line");
    assert_eq!(read.fingerprint(RowOrder::Matters), alone.fingerprint(RowOrder::Matters));
}

/// One of two files whose bytes differ everywhere.
fn written_by(writer: usize) -> Table {
    let value = [1.5, -2.25e100][writer % 2];
    Table::new(["x"], Array2::from_elem((20_000, 1), value)).unwrap()
}

#[test]
fn threads_that_write_one_file_leave_one_of_their_tables_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let tables: Vec<Table> = (0..2).map(written_by).collect();
    std::thread::scope(|scope| {
        for table in tables.iter().cycle().take(4) {
            scope.spawn(|| (0..10).for_each(|_| write_csv(&path, table).unwrap()));
        }
    });
    let read = read_csv(&path, &ReadOptions::new()).unwrap();
    assert!(tables.iter().any(|table| table.features() == read.features()));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
}

proptest! {
    #[test]
    fn what_was_written_is_read_back_to_the_bit(
        values in prop::collection::vec(any::<f64>(), 1..60),
        texts in prop::collection::btree_set("[a-z,\"\n é]{1,6}x", 1..5),
    ) {
        let n_rows = values.len();
        let texts: Vec<String> = texts.into_iter().map(|text| text.trim().to_owned()).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let mut features = Array2::zeros((n_rows, 2));
        for (row, &value) in values.iter().enumerate() {
            features[[row, 0]] = value;
            features[[row, 1]] = (row % texts.len()) as f64;
        }
        let table = Table::new(["a \"b\",", "c"], features).unwrap().with_dictionary("c", texts.clone()).unwrap();
        let mut bytes = Vec::new();
        write_csv_to(&mut bytes, &table).unwrap();
        let options = ReadOptions::new().with_non_finite(NonFinite::Accept).with_dictionary("c", texts);
        let read = read_csv_from(&bytes[..], "a.csv", &options).unwrap();
        prop_assert_eq!(read.names(), table.names());
        for (a, b) in read.features().iter().zip(table.features()) {
            prop_assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()), "{} {}", a, b);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(read_csv_from(&bytes[..], "a.csv", &ReadOptions::new()));
    }

    #[test]
    fn any_text_of_csv_characters_is_read_or_refused(text in "[ab1.,\"\r\n -]{0,80}") {
        let options = ReadOptions::new().with_target("a", TargetKind::Classes);
        if let Ok(table) = read_csv_from(text.as_bytes(), "a.csv", &options) {
            prop_assert!(table.n_rows() > 0);
            prop_assert!(table.samples().is_ok());
        }
    }
}
