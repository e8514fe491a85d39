//! Reads the vector files.

use serde_json::Value;

/// One vector file.
pub(crate) struct Vectors {
    name: String,
    pub(crate) file: Value,
}

impl Vectors {
    pub(crate) fn read(name: &str) -> Self {
        let folder = std::env::var("MLP_VECTORS_DIR")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors").to_owned());
        let path = format!("{folder}/{name}.json");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let file = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { name: name.to_owned(), file }
    }

    /// Checks every case that `belongs`, prints how many there were, and fails if there were none.
    pub(crate) fn check_where(&self, belongs: impl Fn(&Value) -> bool, check: impl Fn(&Case<'_>)) {
        let cases = self.file["cases"].as_array().expect("a list of cases");
        let mut count = 0;
        for (at, value) in cases.iter().enumerate().filter(|case| belongs(case.1)) {
            let name = value.get("name").or(value.get("case")).and_then(Value::as_str);
            let name = format!("{} #{at} {}", self.name, name.unwrap_or_default());
            check(&Case { name, value });
            count += 1;
        }
        assert!(count > 0, "{}: no cases", self.name);
        tell(&format!("{}: {count} cases", self.name));
    }

    pub(crate) fn check(&self, check: impl Fn(&Case<'_>)) {
        self.check_where(|_| true, check);
    }
}

/// One case, which names itself where it fails.
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    pub(crate) value: &'a Value,
}

impl Case<'_> {
    pub(crate) fn input(&self, name: &str) -> &Value {
        &self.value["input"][name]
    }

    pub(crate) fn param(&self, name: &str) -> &Value {
        &self.value["params"][name]
    }

    pub(crate) fn expected(&self, path: &str) -> &Value {
        let path = path.split('/').fold(&self.value["expected"], |value, key| &value[key]);
        assert!(!path.is_null(), "{}: no such expectation", self.name);
        path
    }

    /// Close by either tolerance.
    pub(crate) fn close(
        &self,
        what: &str,
        ours: f64,
        theirs: &Value,
        relative: f64,
        absolute: f64,
    ) {
        let theirs = number(theirs);
        let is_same = ours == theirs || (ours.is_nan() && theirs.is_nan());
        let error = (ours - theirs).abs();
        let is_close = error <= relative * theirs.abs() || error <= absolute;
        assert!(is_same || is_close, "{}: {what} is {ours}, expected {theirs}", self.name);
    }

    pub(crate) fn same<T: PartialEq + std::fmt::Debug>(&self, what: &str, ours: T, theirs: T) {
        assert!(ours == theirs, "{}: {what} is {ours:?}, expected {theirs:?}", self.name);
    }
}

pub(crate) fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        _ => value.as_f64().unwrap_or_else(|| panic!("{value} is no number")),
    }
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).iter().map(number).collect()
}

pub(crate) fn counts(value: &Value) -> Vec<u64> {
    numbers(value).into_iter().map(|count| count as u64).collect()
}

pub(crate) fn labels(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|label| label as usize).collect()
}

/// Says how much was checked, also where the test runner keeps what passing tests print.
pub(crate) fn tell(text: &str) {
    use std::io::Write as _;
    // A closed output is no fault of what was checked.
    let _ = writeln!(std::io::stdout(), "{text}");
}
