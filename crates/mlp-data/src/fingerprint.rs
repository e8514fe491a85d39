//! The fingerprint of a table: the same for the same content, on every machine.

use blake3::Hasher;
use mlp_core::ContentHash;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::canonical::canonical_bits;
use crate::error::{Error, Result};
use crate::table::{Table, TargetColumn};

/// Whether the order of rows is part of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowOrder {
    /// It is: for time series, and wherever splits depend on positions.
    #[default]
    Matters,
    /// It is not: the rows are a bag. Twice the same row still counts twice.
    Ignored,
}

/// Names the canonical form; changes if the form ever does.
const FORM: &[u8] = b"mlp-data/table/1";
/// Doubles that are made canonical at a time: the buffer stays in the first-level cache.
const BLOCK: usize = 1024;

impl Table {
    /// The BLAKE3 hash of the table's canonical form.
    ///
    /// Names, dictionaries, features, target, weights, groups and row ids count; the file that the table was read from does not. Doubles
    /// are hashed by their bits, little endian, with one form for 0 and -0 and one for every NaN. With [`RowOrder::Ignored`] the hashes
    /// of the rows are sorted first.
    #[must_use]
    pub fn fingerprint(&self, order: RowOrder) -> ContentHash {
        let mut fingerprinter = Fingerprinter::new(order);
        fingerprinter.absorb(self);
        fingerprinter.finish()
    }
}

/// The fingerprint of a table that comes in chunks, whatever their sizes.
///
/// ```
/// use mlp_data::{Fingerprinter, RowOrder, Table};
/// use ndarray::array;
///
/// let table = Table::new(["a"], array![[1.0], [2.0], [3.0]])?;
/// let mut chunks = Fingerprinter::new(RowOrder::Matters);
/// chunks.update(&table.select_rows(&[0])?)?;
/// chunks.update(&table.select_rows(&[1, 2])?)?;
/// assert_eq!(chunks.finish(), table.fingerprint(RowOrder::Matters));
/// # Ok::<(), mlp_data::Error>(())
/// ```
#[derive(Debug)]
pub struct Fingerprinter {
    order: RowOrder,
    kind: Option<Table>,
    n_rows: u64,
    parts: Parts,
    rows: Vec<[u8; 32]>,
}

/// A running hash for each part of a table.
#[derive(Debug, Default)]
struct Parts {
    features: Hasher,
    target: Hasher,
    weights: Hasher,
    groups: Hasher,
    row_ids: Hasher,
}

impl Fingerprinter {
    /// Starts with no rows.
    #[must_use]
    pub fn new(order: RowOrder) -> Self {
        Self { order, kind: None, n_rows: 0, parts: Parts::default(), rows: Vec::new() }
    }

    /// Adds the rows of a chunk.
    ///
    /// # Errors
    /// If its columns, dictionaries, target or parts differ from those of the chunks before it.
    pub fn update(&mut self, chunk: &Table) -> Result<()> {
        if let Some(reason) = self.kind.as_ref().and_then(|kind| kind.difference_in_kind(chunk)) {
            return Err(Error::Mismatch { reason });
        }
        self.absorb(chunk);
        Ok(())
    }

    fn absorb(&mut self, chunk: &Table) {
        self.n_rows += chunk.n_rows() as u64;
        match self.order {
            RowOrder::Matters => self.parts.absorb(chunk, 0..chunk.n_rows()),
            RowOrder::Ignored => self.rows.extend((0..chunk.n_rows()).map(|row| {
                let mut parts = Parts::default();
                parts.absorb(chunk, row..row + 1);
                parts.finish(&mut Hasher::new())
            })),
        }
        if self.kind.is_none() {
            self.kind = chunk.select_rows(&[]).ok();
        }
    }

    /// The fingerprint of all rows so far.
    #[must_use]
    pub fn finish(mut self) -> ContentHash {
        let mut whole = Hasher::new();
        whole.update(FORM);
        whole.update(&[u8::from(self.order == RowOrder::Ignored)]);
        whole.update(&self.n_rows.to_le_bytes());
        if let Some(kind) = &self.kind {
            describe(kind, &mut whole);
        }
        let hash = match self.order {
            RowOrder::Matters => self.parts.finish(&mut whole),
            RowOrder::Ignored => {
                self.rows.sort_unstable();
                for row in &self.rows {
                    whole.update(row);
                }
                *whole.finalize().as_bytes()
            }
        };
        ContentHash::from_bytes(hash)
    }
}

impl Parts {
    fn absorb(&mut self, table: &Table, rows: std::ops::Range<usize>) {
        hash_matrix(&mut self.features, table.features().slice(ndarray::s![rows.clone(), ..]));
        match table.target() {
            TargetColumn::Absent => {}
            TargetColumn::Classes { labels, .. } => {
                for &label in &labels[rows.clone()] {
                    self.target.update(&(label as u64).to_le_bytes());
                }
            }
            TargetColumn::Values { values, .. } => {
                hash_values(&mut self.target, &values[rows.clone()])
            }
        }
        if let Some(weights) = table.weights() {
            hash_values(&mut self.weights, &weights[rows.clone()]);
        }
        if let Some(groups) = table.groups() {
            for group in &groups[rows.clone()] {
                self.groups.update(&group.to_le_bytes());
            }
        }
        if let Some(ids) = table.row_ids() {
            ids[rows].iter().for_each(|id| hash_text(&mut self.row_ids, id));
        }
    }

    fn finish(&self, whole: &mut Hasher) -> [u8; 32] {
        for part in [&self.features, &self.target, &self.weights, &self.groups, &self.row_ids] {
            whole.update(part.finalize().as_bytes());
        }
        *whole.finalize().as_bytes()
    }
}

/// Hashes everything about a table but its rows.
fn describe(table: &Table, hasher: &mut Hasher) {
    hasher.update(&(table.n_features() as u64).to_le_bytes());
    for (column, name) in table.names().iter().enumerate() {
        hash_text(hasher, name);
        hash_texts(hasher, table.dictionary_at(column));
    }
    match table.target() {
        TargetColumn::Absent => {
            hasher.update(&[0]);
        }
        TargetColumn::Classes { name, classes, .. } => {
            hasher.update(&[1]);
            hash_text(hasher, name);
            hash_texts(hasher, Some(classes));
        }
        TargetColumn::Values { name, .. } => {
            hasher.update(&[2]);
            hash_text(hasher, name);
        }
    }
    let parts = [table.weights().is_some(), table.groups().is_some(), table.row_ids().is_some()];
    hasher.update(&parts.map(u8::from));
}

/// Lengths stand before texts, so that no two lists of texts have the same bytes.
fn hash_text(hasher: &mut Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

fn hash_texts(hasher: &mut Hasher, texts: Option<&[String]>) {
    hasher.update(&texts.map_or(u64::MAX, |texts| texts.len() as u64).to_le_bytes());
    texts.unwrap_or_default().iter().for_each(|text| hash_text(hasher, text));
}

fn hash_matrix(hasher: &mut Hasher, matrix: ArrayView2<'_, f64>) {
    match matrix.as_slice() {
        Some(values) => hash_values(hasher, values),
        None => matrix.rows().into_iter().for_each(|row| hash_values(hasher, &row.to_vec())),
    }
}

fn hash_values(hasher: &mut Hasher, values: &[f64]) {
    let mut buffer = [0; BLOCK * 8];
    for block in values.chunks(BLOCK) {
        for (bytes, &value) in buffer.chunks_exact_mut(8).zip(block) {
            bytes.copy_from_slice(&canonical_bits(value).to_le_bytes());
        }
        hasher.update(&buffer[..block.len() * 8]);
    }
}
