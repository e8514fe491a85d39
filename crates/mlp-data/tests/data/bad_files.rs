//! Each kind of bad file has its typed error, and a message of one line that says where.

use std::io::Read;

use mlp_data::{Error, ReadOptions, TargetKind, read_csv, read_csv_from};

fn check(file: &[u8], options: &ReadOptions, is_expected: impl Fn(&Error) -> bool, message: &str) {
    let error = read_csv_from(file, "a.csv", options).unwrap_err();
    assert!(is_expected(&error), "{error:?}");
    assert_eq!(error.to_string(), message);
}

fn plain() -> ReadOptions {
    ReadOptions::new()
}

#[test]
fn a_missing_file_is_named() {
    let error = read_csv("no/such.csv", &plain()).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no/such.csv: cannot open the file: "), "{error}");
}

#[test]
fn an_unknown_target_is_named_beside_the_columns_there_are() {
    let options = plain().with_target("z", TargetKind::Values);
    let is = |e: &Error| matches!(e, Error::MissingColumn { .. });
    check(
        b"a,b\n1,2\n",
        &options,
        is,
        "a.csv, line 1, column \"z\": there is no such column for the target; there are \"a\", \"b\"",
    );
}

#[test]
fn a_cell_that_is_no_number_is_named_with_its_line() {
    let is = |e: &Error| matches!(e, Error::NotANumber { .. });
    let message = "a.csv, line 3, column \"b\": \"x\" is not a number";
    check(b"a,b\n1,2\n3,x\n", &plain(), is, message);
    check(b"a,b\r\n1,2\r\n3,x\r\n", &plain(), is, message);
    check(b"a,b\n1,2\n3,x", &plain(), is, message);
}

#[test]
fn lines_are_counted_over_blank_lines_and_quoted_newlines() {
    let is = |e: &Error| matches!(e, Error::NotANumber { .. });
    let at = |line: u64| format!("a.csv, line {line}, column \"b\": \"x\" is not a number");
    check(b"a,b\n\n\n1,2\n\n3,x\n", &plain(), is, &at(6));
    check(b"a,b\r\n\r\n1,2\r\n\r\n3,x\r\n", &plain(), is, &at(5));
    check(b"a,b\n1,2\n3,\"x", &plain(), is, &at(3));
    let options = plain().with_row_ids("a");
    check(b"a,b\n\"1\n2\n3\",2\n\"3\n4\",x\n", &options, is, &at(5));
    check(b"a,b\r\n\"1\r\n2\",2\r\n3,x\r\n", &options, is, &at(4));
}

#[test]
fn a_quoted_newline_is_part_of_its_cell() {
    let options = plain().with_row_ids("a");
    let table = read_csv_from(&b"a,b\n\"1\n2\",3\n"[..], "a.csv", &options).unwrap();
    assert_eq!(table.row_ids().unwrap(), ["1\n2"]);
}

#[test]
fn an_empty_file_has_no_header() {
    let is = |e: &Error| matches!(e, Error::NoHeader { .. });
    for file in [&b""[..], b"\n\n", b"\xef\xbb\xbf"] {
        check(
            file,
            &plain(),
            is,
            "a.csv: the file is empty: a line with the names of the columns is needed",
        );
    }
}

#[test]
fn a_table_without_rows_is_refused() {
    let is = |e: &Error| matches!(e, Error::NoRows { .. });
    check(
        b"a,b\n",
        &plain(),
        is,
        "a.csv, line 2: the table is empty: there is no row below the header",
    );
}

#[test]
fn a_single_class_is_named_with_its_lines() {
    let is = |e: &Error| matches!(e, Error::SingleClass { .. });
    for kind in [TargetKind::Classes, TargetKind::Detect { max_classes: 10 }] {
        let message = "a.csv, line 2, column \"y\": all 2 rows down to line 3 are of the class \"1\": at least two classes are needed";
        check(b"a,y\n1,1\n2,1.0\n", &plain().with_target("y", kind), is, message);
    }
}

#[test]
fn a_ragged_record_is_named_with_both_counts() {
    let is = |e: &Error| matches!(e, Error::Ragged { .. });
    for (file, given) in [(&b"a,b\n1,2\n3\n"[..], 1), (b"a,b\n1,2\n3,4,5\n", 3)] {
        let message = format!("a.csv, line 3: the record has {given} cells, the header has 2");
        check(file, &plain(), is, &message);
    }
}

#[test]
fn a_cell_that_is_not_utf_8_is_named() {
    let is = |e: &Error| matches!(e, Error::NotUtf8 { .. });
    check(
        b"a,b\n1,\xff2\n",
        &plain(),
        is,
        "a.csv, line 2, column \"b\": the cell is not UTF-8, it reads \"\u{fffd}2\"",
    );
    check(
        b"a,\xff\n1,2\n",
        &plain(),
        is,
        "a.csv, line 1, column \"#2\": the cell is not UTF-8, it reads \"\u{fffd}\"",
    );
    let utf16: Vec<u8> = "a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let is_nul = |e: &Error| matches!(e, Error::Nul { .. });
    let message = "a.csv, line 1, column \"#1\": the cell holds a NUL character: this is not a text file, or it is damaged";
    check(&utf16, &plain(), is_nul, message);
}

#[test]
fn a_header_with_a_repeated_or_empty_name_is_refused() {
    let twice = |e: &Error| matches!(e, Error::DuplicateColumn { .. });
    check(
        b"a,b, a\n1,2,3\n",
        &plain(),
        twice,
        "a.csv, line 1, column \"a\": the name stands twice in the header, as columns 1 and 3",
    );
    let unnamed = |e: &Error| matches!(e, Error::UnnamedColumn { .. });
    check(
        b"a,,c\n1,2,3\n",
        &plain(),
        unnamed,
        "a.csv, line 1, column \"#2\": the column has no name",
    );
}

#[test]
fn a_nul_character_is_named() {
    let is = |e: &Error| matches!(e, Error::Nul { .. });
    let message = "a.csv, line 2, column \"b\": the cell holds a NUL character: this is not a text file, or it is damaged";
    check(b"a,b\n1,2\x003\n", &plain(), is, message);
    check(b"a,b\n1,x\0\n", &plain().with_categories("b"), is, message);
}

#[test]
fn an_empty_cell_is_refused_unless_it_marks_a_missing_value() {
    let is = |e: &Error| matches!(e, Error::EmptyCell { .. });
    let message = "a.csv, line 2, column \"b\": the cell is empty, and an empty cell is not allowed to mean a missing value";
    check(b"a,b\n1,\n", &plain(), is, message);
    check(
        b"a,b\n1,\n",
        &plain().with_missing([""]).with_target("b", TargetKind::Values),
        is,
        message,
    );
    let table = read_csv_from(&b"a,b\n1, \n"[..], "a.csv", &plain().with_missing([""])).unwrap();
    assert!(table.features()[[0, 1]].is_nan());
}

#[test]
fn a_number_beyond_the_doubles_is_out_of_range() {
    let is = |e: &Error| matches!(e, Error::NumberOutOfRange { .. });
    for options in [plain(), plain().with_target("b", TargetKind::Classes)] {
        check(
            b"a,b\n1,1e999\n",
            &options,
            is,
            "a.csv, line 2, column \"b\": \"1e999\" is out of range: numbers go up to 1.8e308 in magnitude",
        );
    }
}

#[test]
fn a_word_for_a_number_that_is_not_finite_is_refused_unless_allowed() {
    let is = |e: &Error| matches!(e, Error::NotFinite { .. });
    for word in ["NaN", "inf", "-Infinity"] {
        let message = format!(
            "a.csv, line 2, column \"b\": {word:?} is not finite, and that is not allowed here"
        );
        check(format!("a,b\n1,{word}\n").as_bytes(), &plain(), is, &message);
    }
}

#[test]
fn a_million_columns_are_too_many() {
    let is = |e: &Error| matches!(e, Error::Limit { limit: 16_384, .. });
    let header: Vec<String> = (0..1_000_000).map(|i| i.to_string()).collect();
    check(
        header.join(",").as_bytes(),
        &plain(),
        is,
        "a.csv, line 1: too many cells in a record: 1000000, at most 16384 are allowed",
    );
}

/// Gives `left` bytes of one cell that never ends, and counts how many were asked for.
struct Endless<'a> {
    start: &'a [u8],
    left: usize,
    given: &'a std::cell::Cell<usize>,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = if self.start.is_empty() {
            let count = buffer.len().min(self.left);
            buffer[..count].fill(b'7');
            self.left -= count;
            count
        } else {
            self.start.read(buffer)?
        };
        self.given.set(self.given.get() + count);
        Ok(count)
    }
}

#[test]
fn a_cell_of_100_mb_is_given_up_before_it_is_read() {
    let given = std::cell::Cell::new(0);
    for start in [&b"a,b\n1,"[..], b"a,b\n1,\""] {
        given.set(0);
        let file = Endless { start, left: 100_000_000, given: &given };
        let error = read_csv_from(file, "a.csv", &plain()).unwrap_err();
        assert!(matches!(error, Error::Limit { limit: 16_777_216, .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            "a.csv, line 2: a record is too long in bytes: 16777217, at most 16777216 are allowed"
        );
        assert!(given.get() < 17 << 20, "{} bytes were read", given.get());
    }
}

#[test]
fn a_cell_above_its_bound_is_named() {
    let is = |e: &Error| matches!(e, Error::Limit { limit: 65_536, .. });
    let file = format!("a,b\n1,{}\n", "7".repeat(70_000));
    let message = "a.csv, line 2, column \"b\": a cell is too long in bytes: 70000, at most 65536 are allowed";
    check(file.as_bytes(), &plain(), is, message);
}

#[test]
fn more_texts_than_the_bound_are_refused() {
    let is = |e: &Error| matches!(e, Error::Limit { .. });
    let mut options = plain().with_categories("b");
    options.max_categories = 2;
    let message = "a.csv, line 4, column \"b\": too many distinct texts: 3, at most 2 are allowed";
    check(b"a,b\n1,x\n1,y\n1,z\n", &options, is, message);
}

#[test]
fn a_text_outside_a_known_dictionary_is_refused() {
    let is = |e: &Error| matches!(e, Error::UnknownCategory { .. });
    let message =
        "a.csv, line 2, column \"b\": \"z\" is not among the 2 known values, \"x\", \"y\"";
    check(b"a,b\n1,z\n", &plain().with_dictionary("b", ["x", "y"]), is, message);
    let known = TargetKind::Known { classes: vec!["x".to_owned(), "y".to_owned()] };
    check(b"a,b\n1,z\n", &plain().with_target("b", known), is, message);
}

#[test]
fn a_message_stays_on_one_line_and_short_whatever_the_cell_holds() {
    let file = format!("a,b\n1,\"x\ny{}\"\n", "z".repeat(1000));
    let error = read_csv_from(file.as_bytes(), "a.csv", &plain()).unwrap_err().to_string();
    assert!(!error.contains('\n') && error.len() < 200, "{error}");
}

#[test]
fn an_open_quote_is_reported_where_it_opens_also_below_blank_lines() {
    for (blank, line) in [("", 3), ("\n", 4), ("\n\n\n", 6)] {
        let file = format!("a,b\n1,2\n{blank}\"3,4\n5,6\n");
        let error = read_csv_from(file.as_bytes(), "x.csv", &ReadOptions::new()).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("x.csv, line {line}")),
            "{blank:?}: {error}"
        );
        // With the quote closed the record is as long, and stands on the same line.
        let file = format!("a,b\n1,2\n{blank}\"3,4\n5\"\n");
        let error = read_csv_from(file.as_bytes(), "x.csv", &ReadOptions::new()).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("x.csv, line {line}")),
            "{blank:?}: {error}"
        );
    }
}
