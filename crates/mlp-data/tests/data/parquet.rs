//! Parquet files: our own, those of Apache Arrow, and damaged ones.

use std::path::Path;
use std::sync::Arc;

use mlp_data::{
    Error, NonFinite, ReadOptions, RowOrder, Table, TargetColumn, TargetKind, read_parquet,
    write_parquet,
};
use ndarray::{Array2, array};
use parquet::basic::{ConvertedType, Repetition, Type as PhysicalType};
use parquet::data_type::Int64Type;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use proptest::prelude::*;

fn file(name: &str) -> String {
    format!("{}/tests/files/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Written by pyarrow 26 with pages of version 2, dictionaries, Snappy and three row groups.
#[test]
fn a_file_of_apache_arrow_is_read() {
    let options = ReadOptions::new()
        .with_target("label", TargetKind::Classes)
        .with_weights("weight")
        .with_row_ids("id");
    let table = read_parquet(file("pyarrow.parquet"), &options).unwrap();
    assert_eq!(table.names(), ["age", "visits", "ratio", "member", "city"]);
    assert_eq!(table.n_rows(), 300);
    let cities = ["Bern", "Genève", "Zürich"].map(str::to_owned);
    assert_eq!(table.dictionary("city"), Some(&cities[..]));
    for row in 0..300 {
        let value = |column: &str| table.column(column).unwrap()[row];
        match row % 10 {
            0 => assert!(value("age").is_nan(), "a null is a missing value"),
            _ => assert_eq!(value("age"), ((row * 7) % 90) as f64),
        }
        assert_eq!(value("visits"), row as f64);
        assert_eq!(value("ratio"), row as f64 / 7.0);
        assert_eq!(value("member"), f64::from(u8::from(row % 3 == 0)));
        assert_eq!(value("city"), [0.0, 2.0, 1.0][row % 3]);
        assert_eq!(table.weights().unwrap()[row], (1 + row % 3) as f64);
        assert_eq!(table.row_ids().unwrap()[row], format!("r{row}"));
    }
    let TargetColumn::Classes { labels, classes, .. } = table.target() else { panic!("classes") };
    assert_eq!(classes, &["no", "yes"]);
    assert!(labels.iter().enumerate().all(|(row, label)| *label == usize::from(row % 4 == 0)));
}

#[test]
fn what_is_no_column_of_a_table_is_named() {
    let message = |name: &str, options: &ReadOptions| {
        read_parquet(file(name), options).unwrap_err().to_string()
    };
    let nested = message("nested.parquet", &ReadOptions::new());
    assert!(nested.contains("lists and structures cannot be columns"), "{nested}");
    let codec = message("zstd.parquet", &ReadOptions::new());
    assert!(codec.contains("zstd.parquet") && codec.to_lowercase().contains("zstd"), "{codec}");
    let missing = message("pyarrow.parquet", &ReadOptions::new().with_weights("no such"));
    assert!(missing.contains("\"no such\"") && missing.contains("the weights"), "{missing}");
    let target = ReadOptions::new().with_target("age", TargetKind::Values);
    let null = message("pyarrow.parquet", &target);
    assert!(null.contains("line 1, column \"age\"") && null.contains("empty"), "{null}");
    let text = message("pyarrow.parquet", &ReadOptions::new().with_weights("city"));
    assert!(text.contains("\"Bern\" is not a number"), "{text}");
    let mut small = ReadOptions::new();
    small.max_values = 2_399;
    let bound = read_parquet(file("pyarrow.parquet"), &small).unwrap_err();
    assert!(matches!(bound, Error::Limit { given: 2_400, limit: 2_399, .. }), "{bound}");
}

/// Columns of whole numbers of 64 bits, the second without a sign.
fn write_whole_numbers(path: &Path, columns: &[(&str, ConvertedType, &[i64])]) {
    let field = |(name, converted, _): &(&str, ConvertedType, &[i64])| {
        let field = Type::primitive_type_builder(name, PhysicalType::INT64)
            .with_repetition(Repetition::REQUIRED)
            .with_converted_type(*converted);
        Arc::new(field.build().unwrap())
    };
    let fields = columns.iter().map(field).collect();
    let schema = Type::group_type_builder("table").with_fields(fields).build().unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut file = SerializedFileWriter::new(file, Arc::new(schema), Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    for (_, _, values) in columns {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    file.close().unwrap();
}

#[test]
fn keys_of_64_bits_keep_every_digit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.parquet");
    let (signed, unsigned) = (ConvertedType::INT_64, ConvertedType::UINT_64);
    let keys = [1_234_567_890_123_456_789, 1_234_567_890_123_456_788, -7];
    write_whole_numbers(
        &path,
        &[
            ("id", signed, &keys),
            ("group", unsigned, &[-1, i64::MAX, 3]),
            ("key", signed, &keys),
            ("x", signed, &[5, -3, 1 << 60]),
            ("w", unsigned, &[1, 2, 3]),
        ],
    );
    let options = ReadOptions::new()
        .with_row_ids("id")
        .with_groups("group")
        .with_categories("key")
        .with_weights("w");
    let table = read_parquet(&path, &options).unwrap();
    let texts = keys.map(|key| key.to_string());
    assert_eq!(table.row_ids().unwrap(), texts);
    assert_eq!(table.groups().unwrap(), [u64::MAX, i64::MAX as u64, 3]);
    let known = table.dictionary("key").unwrap();
    let of_row = |row: usize| &known[table.column("key").unwrap()[row] as usize];
    assert!((0..3).all(|row| *of_row(row) == texts[row]), "{known:?}");
    assert_eq!(table.column("x").unwrap().to_vec(), [5.0, -3.0, 2_f64.powi(60)]);
    assert_eq!(table.weights().unwrap(), [1.0, 2.0, 3.0]);
    let target = options.with_target("x", TargetKind::Values);
    let TargetColumn::Values { values, .. } =
        read_parquet(&path, &target).unwrap().target().clone()
    else {
        panic!("values")
    };
    assert_eq!(values, [5.0, -3.0, 2_f64.powi(60)]);
    let error = read_parquet(&path, &ReadOptions::new().with_groups("id")).unwrap_err();
    assert!(error.to_string().contains("\"-7\" is not a whole number from 0"), "{error}");
}

#[test]
fn infinity_is_refused_unless_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let table = Table::new(["x"], array![[1.0], [f64::INFINITY]]).unwrap();
    write_parquet(&path, &table).unwrap();
    let error = read_parquet(&path, &ReadOptions::new()).unwrap_err();
    assert!(
        matches!(error, Error::NotFinite { ref place, .. } if place.line == Some(2)),
        "{error}"
    );
    let accept = ReadOptions::new().with_non_finite(NonFinite::Accept);
    assert_eq!(read_parquet(&path, &accept).unwrap().features()[[1, 0]], f64::INFINITY);
}

#[test]
fn a_file_that_is_no_parquet_or_is_cut_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.parquet");
    let whole = std::fs::read(file("pyarrow.parquet")).unwrap();
    for bytes in [&b""[..], b"PAR1", b"not a table at all", &whole[..whole.len() / 2]] {
        std::fs::write(&path, bytes).unwrap();
        let error = read_parquet(&path, &ReadOptions::new()).unwrap_err().to_string();
        assert!(error.contains("bad.parquet"), "{error}");
    }
    let missing = read_parquet(folder.path().join("none.parquet"), &ReadOptions::new());
    assert!(missing.unwrap_err().to_string().contains("cannot open"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_table_comes_back_with_every_bit(values in prop::collection::vec(any::<f64>(), 1..60), columns in 1_usize..4) {
        let rows = values.len().div_ceil(columns);
        let at = |i: usize| values.get(i).copied().unwrap_or(0.0);
        let features = Array2::from_shape_fn((rows, columns), |(row, column)| at(row * columns + column));
        let codes: Vec<usize> = (0..rows).map(|row| (row + 1) % 2).collect();
        let table = Table::new((0..columns).map(|i| format!("column {i}, \"x\"")), features).unwrap();
        let table = table.with_classes("kind", codes, ["a", "b"]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        write_parquet(&path, &table).unwrap();
        let classes = TargetKind::Known { classes: vec!["a".to_owned(), "b".to_owned()] };
        let options = ReadOptions::new().with_target("kind", classes).with_non_finite(NonFinite::Accept);
        let again = read_parquet(&path, &options).unwrap();
        // Every NaN is one missing value; everything else is bit for bit the same.
        let bits = |table: &Table| table.features().iter().map(|v| if v.is_nan() { 1 } else { v.to_bits() }).collect::<Vec<_>>();
        prop_assert_eq!(bits(&again), bits(&table));
        prop_assert_eq!(again.target(), table.target());
        prop_assert_eq!(again.fingerprint(RowOrder::Matters), table.fingerprint(RowOrder::Matters));
    }

    #[test]
    fn a_damaged_file_is_an_error_or_a_table_and_never_a_panic(at in 0_usize..100_000, byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = std::fs::read(file("pyarrow.parquet")).unwrap();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        std::fs::write(&path, bytes).unwrap();
        let _ = read_parquet(&path, &ReadOptions::new());
    }
}
