//! A checksum at the end of each of our lines, as a key that Optuna passes over.

use crate::crc32::crc32;

const KEY: &str = ",\"mlp_crc\":";

/// Adds the checksum to a line.
pub(super) fn sign(mut line: String) -> String {
    if line.ends_with("}\n") {
        line.truncate(line.len() - 2);
        let sum = crc32(line.as_bytes());
        line.push_str(&format!("{KEY}{sum}}}\n"));
    }
    line
}

/// Whether a line is as it was written; lines without a checksum, such as Optuna's, are taken as they are.
pub(super) fn is_whole(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let start = line.len().saturating_sub(KEY.len() + 12);
    let Some(place) = line[start..].windows(KEY.len()).rposition(|bytes| bytes == KEY.as_bytes())
    else {
        return true;
    };
    let (front, sum) = (&line[..start + place], &line[start + place + KEY.len()..]);
    let sum = std::str::from_utf8(sum).ok().and_then(|text| text.strip_suffix('}')?.parse().ok());
    sum == Some(crc32(front))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_and_one_that_was_changed_does_not() {
        let line = sign("{\"op_code\":7,\"step\":1}\n".to_owned());
        assert!(is_whole(line.as_bytes()));
        assert!(!is_whole(line.replace("\"step\":1", "\"step\":2").as_bytes()));
        assert!(is_whole(b"{\"op_code\":7,\"step\":1}\n") && is_whole(b"") && is_whole(b"\0"));
    }
}
