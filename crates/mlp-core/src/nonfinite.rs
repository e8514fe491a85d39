//! Doubles that survive JSON: NaN and the infinities have no literal there, and most writers turn them into null.

/// Serde functions that keep every double exact: finite ones as numbers, the others as the texts `NaN`, `Infinity` and `-Infinity`.
///
/// For use as `#[serde(with = "mlp_core::exact")]` on a field of type `f64`.
pub mod exact {
    use serde::de::{Error, MapAccess, Unexpected, Visitor};
    use serde::{Deserializer, Serializer};

    /// The text that stands for a double that is not finite.
    pub(crate) fn text(value: f64) -> Option<&'static str> {
        if value.is_nan() {
            Some("NaN")
        } else if value == f64::INFINITY {
            Some("Infinity")
        } else if value == f64::NEG_INFINITY {
            Some("-Infinity")
        } else {
            None
        }
    }

    /// The double that a text stands for.
    pub(crate) fn value(text: &str) -> Option<f64> {
        match text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        }
    }

    /// The double that a number stands for where the feature `arbitrary_precision` of serde_json is on, as any crate of a build may ask for: an object
    /// with this key and the text of the number.
    pub(crate) fn number(key: &str, text: &str) -> Option<f64> {
        let value: f64 = text.parse().ok()?;
        // One out of range is refused, as it is without the feature.
        (key == "$serde_json::private::Number" && value.is_finite()).then_some(value)
    }

    /// Writes a double.
    ///
    /// # Errors
    /// As the serializer says.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        match text(*value) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.serialize_f64(*value),
        }
    }

    /// Reads a double.
    ///
    /// # Errors
    /// If what stands there is neither a number nor one of the three texts.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        deserializer.deserialize_any(ExactVisitor)
    }

    struct ExactVisitor;

    impl<'de> Visitor<'de> for ExactVisitor {
        type Value = f64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
            Ok(number)
        }

        #[expect(
            clippy::cast_precision_loss,
            reason = "an integer literal in JSON stands for the nearest double"
        )]
        fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
            Ok(number as f64)
        }

        #[expect(
            clippy::cast_precision_loss,
            reason = "an integer literal in JSON stands for the nearest double"
        )]
        fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
            Ok(number as f64)
        }

        fn visit_str<E: Error>(self, given: &str) -> Result<f64, E> {
            value(given).ok_or_else(|| E::invalid_value(Unexpected::Str(given), &self))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<f64, A::Error> {
            let entry: Option<(String, String)> = map.next_entry()?;
            entry
                .and_then(|(key, text)| number(&key, &text))
                .ok_or_else(|| A::Error::invalid_type(Unexpected::Map, &self))
        }
    }
}
