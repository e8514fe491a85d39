//! Structs and JSON objects as rows.

use mlp_core::Signature;
use mlp_data::{Error, Nulls, RowCodec, RowProblem};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct House {
    rooms: u32,
    area: f64,
    kind: String,
    garden: Option<f64>,
}

fn codec() -> RowCodec {
    let signature = Signature::regressor(["area", "kind", "rooms", "garden"], "price");
    RowCodec::new(&signature).with_dictionary("kind", ["flat", "house"]).unwrap()
}

fn problems(json: &str) -> Vec<RowProblem> {
    match codec().encode_json(json).unwrap_err() {
        Error::Row { problems, .. } => problems,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_struct_becomes_a_row_in_the_order_of_the_signature_and_comes_back() {
    let house = House { rooms: 3, area: 71.5, kind: "house".to_owned(), garden: Some(0.0) };
    let row = codec().encode(&house).unwrap();
    assert_eq!(row, [71.5, 1.0, 3.0, 0.0]);
    let object = codec().decode_object(&row).unwrap();
    assert_eq!(object["kind"], "house");
    let back: std::collections::BTreeMap<String, serde_json::Value> = codec().decode(&row).unwrap();
    assert_eq!(back.len(), 4);
}

#[test]
fn everything_wrong_with_a_row_is_in_one_error() {
    let found =
        problems(r#"{"area": "big", "kind": "tent", "roms": 3, "garden": null, "area": 1}"#);
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "\"area\" must be a number, it is the text \"big\"",
            "\"kind\" is \"tent\", it must be one of \"flat\", \"house\"",
            "\"roms\" is unknown",
            "\"garden\" must be a number, it is null",
            "\"area\" stands twice",
            "\"rooms\" is missing",
        ]
    );
    for json in ["[1]", "3", "null", "\"x\""] {
        assert!(matches!(problems(json)[0], RowProblem::NotAnObject { .. }));
    }
    assert!(matches!(codec().encode_json("{"), Err(Error::Invalid { .. })));
    assert!(matches!(codec().encode_json(r#"{"area": 1e999}"#), Err(Error::Invalid { .. })));
}

#[test]
fn a_category_is_a_text_and_a_number_is_not() {
    let found = problems(r#"{"area": true, "kind": 1, "rooms": [1], "garden": 0}"#);
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["\"kind\" must be a text, it is the number 1", "\"rooms\" must be a number, it is a list",]
    );
}

#[test]
fn null_is_a_missing_value_only_if_allowed() {
    let house = House { rooms: 3, area: f64::NAN, kind: "flat".to_owned(), garden: None };
    assert!(codec().encode(&house).is_err());
    let lenient = codec().with_nulls(Nulls::Missing);
    let row = lenient.encode(&house).unwrap();
    assert!(row[0].is_nan() && row[3].is_nan());
    assert!(lenient.decode_object(&row).unwrap()["garden"].is_null());
}

#[test]
fn the_list_of_problems_is_bounded_and_the_count_is_not() {
    let many: Vec<String> = (0..1000).map(|i| format!("\"u{i}\": 1")).collect();
    let error = codec().encode_json(&format!("{{{}}}", many.join(","))).unwrap_err();
    assert!(matches!(&error, Error::Row { problems, count: 1004 } if problems.len() == 100));
    assert!(error.to_string().ends_with("and 904 more"));
}

#[test]
fn a_row_that_has_no_names_is_refused() {
    assert!(codec().decode_object(&[1.0]).is_err());
    let error = codec().decode_object(&[f64::INFINITY, 7.0, 1.0, 1.0]).unwrap_err().to_string();
    assert_eq!(error, "the row does not fit: \"area\" cannot be inf; \"kind\" cannot be 7");
}

#[test]
fn the_outputs_of_a_model_have_names_too() {
    let codec = RowCodec::new(&Signature::classifier(["a"], ["no", "yes"]));
    assert_eq!(codec.name_outputs(&[0.25, 0.75]).unwrap()["yes"], 0.75);
    assert!(codec.name_outputs(&[1.0]).is_err());
}

proptest! {
    #[test]
    fn a_row_goes_to_json_and_back_to_the_bit(
        area in any::<f64>().prop_filter("finite", |v| v.is_finite()),
        kind in 0_u8..2, rooms in any::<i32>(),
    ) {
        let row = [area, f64::from(kind), f64::from(rooms), 0.0];
        let json = serde_json::to_string(&codec().decode_object(&row).unwrap()).unwrap();
        let back = codec().encode_json(&json).unwrap();
        prop_assert!(row.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits()), "{:?}", back);
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,60}|[{}\\[\\]:,\"a1 ]{0,60}") {
        drop(codec().encode_json(&text));
    }
}
