//! The same content has the same fingerprint, and any change another one.

use mlp_data::{Fingerprinter, RowOrder, Table};
use ndarray::{Array2, array};
use proptest::prelude::*;

fn base() -> Table {
    Table::new(["a", "b"], array![[1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
        .and_then(|t| t.with_dictionary("b", ["x", "y"]))
        .and_then(|t| t.with_classes("c", vec![0, 1, 1], ["n", "y"]))
        .and_then(|t| t.with_weights(vec![1.0, 1.0, 2.0]))
        .and_then(|t| t.with_groups(vec![1, 2, 3]))
        .and_then(|t| t.with_row_ids(["p", "q", "r"]))
        .unwrap()
}

#[test]
fn every_part_of_the_content_counts() {
    let features = |value| array![[1.0, 0.0], [2.0, 1.0], [value, 0.0]];
    let same = |t: &Table| t.clone();
    let changed = [
        Table::new(["a", "b"], features(3.0)).unwrap(),
        base().without_target(),
        base().with_classes("c", vec![0, 1, 0], ["n", "y"]).unwrap(),
        base().with_classes("d", vec![0, 1, 1], ["n", "y"]).unwrap(),
        base().with_classes("c", vec![0, 1, 1], ["n", "z"]).unwrap(),
        base().with_values("c", vec![0.0, 1.0, 1.0]).unwrap(),
        base().with_weights(vec![1.0, 1.0, 3.0]).unwrap(),
        base().with_groups(vec![1, 2, 4]).unwrap(),
        base().with_row_ids(["p", "q", "s"]).unwrap(),
        base().with_row_ids(["p", "qr", ""]).unwrap(),
        base().with_dictionary("b", ["x", "z"]).unwrap(),
        base().with_dictionary("a", ["1", "2", "3", "4"]).unwrap(),
        base().select_columns(&["b", "a"]).unwrap(),
        base().select_rows(&[0, 1]).unwrap(),
        base().select_rows(&[0, 1, 2, 2]).unwrap(),
        base().replace_features(["a", "b"], features(3.5)).unwrap(),
        base().replace_features(["a", "b2"], features(3.0)).unwrap(),
    ];
    for order in [RowOrder::Matters, RowOrder::Ignored] {
        let mut seen = vec![same(&base()).fingerprint(order)];
        for table in &changed {
            let fingerprint = table.fingerprint(order);
            assert!(!seen.contains(&fingerprint), "{table:?}");
            seen.push(fingerprint);
        }
    }
    assert_ne!(base().fingerprint(RowOrder::Matters), base().fingerprint(RowOrder::Ignored));
}

#[test]
fn the_order_of_rows_matters_or_not_by_choice() {
    let turned = base().select_rows(&[2, 0, 1]).unwrap();
    assert_ne!(turned.fingerprint(RowOrder::Matters), base().fingerprint(RowOrder::Matters));
    assert_eq!(turned.fingerprint(RowOrder::Ignored), base().fingerprint(RowOrder::Ignored));
}

#[test]
fn values_that_mean_the_same_have_the_same_fingerprint() {
    let one = Table::new(["a"], array![[0.0], [f64::NAN]]).unwrap();
    let other = Table::new(["a"], array![[-0.0], [-f64::NAN]]).unwrap();
    assert_eq!(one.fingerprint(RowOrder::Matters), other.fingerprint(RowOrder::Matters));
}

#[test]
fn chunks_of_another_kind_are_refused() {
    let mut chunks = Fingerprinter::new(RowOrder::Matters);
    chunks.update(&base()).unwrap();
    assert!(chunks.update(&base().without_target()).is_err());
    assert!(chunks.update(&base().select_columns(&["b", "a"]).unwrap()).is_err());
}

proptest! {
    #[test]
    fn chunk_sizes_do_not_matter(
        values in prop::collection::vec(any::<f64>(), 0..3000),
        sizes in prop::collection::vec(0_usize..700, 1..10),
        ignored in any::<bool>(),
    ) {
        let order = if ignored { RowOrder::Ignored } else { RowOrder::Matters };
        let n_rows = values.len() / 3;
        let features = Array2::from_shape_vec((n_rows, 3), values[..n_rows * 3].to_vec()).unwrap();
        let table = Table::new(["a", "b", "c"], features).unwrap().with_groups((0..n_rows as u64).collect()).unwrap();
        let mut chunks = Fingerprinter::new(order);
        let mut start = 0;
        for size in sizes.iter().copied().chain([n_rows]) {
            let end = (start + size).min(n_rows);
            chunks.update(&table.select_rows(&(start..end).collect::<Vec<_>>()).unwrap()).unwrap();
            start = end;
        }
        prop_assert_eq!(chunks.finish(), table.fingerprint(order));
    }
}
