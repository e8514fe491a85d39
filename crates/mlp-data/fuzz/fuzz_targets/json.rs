#![no_main]
//! Any text is a row or an error; a row survives the way back to JSON.

use libfuzzer_sys::fuzz_target;
use mlp_core::Signature;
use mlp_data::{Nulls, RowCodec};

fuzz_target!(|json: &str| {
    let codec = RowCodec::new(&Signature::regressor(["a", "b", "c"], "y"))
        .with_dictionary("c", ["x", "y"])
        .unwrap()
        .with_nulls(Nulls::Missing);
    if let Ok(row) = codec.encode_json(json) {
        let object = codec.decode_object(&row).unwrap();
        let again = codec.encode(&object).unwrap();
        assert!(row.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
});
