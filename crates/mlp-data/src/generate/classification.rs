//! Classes as clusters around the corners of a hypercube.

use std::collections::HashSet;

use mlp_core::random::{self, ChaCha8Rng};
use ndarray::{Array1, Array2, s};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::table::Table;

/// What [`make_classification`] makes; names and defaults are scikit-learn's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ClassificationOptions {
    /// Columns that carry the classes, named `informative0`, …: 2 by default.
    pub n_informative: usize,
    /// Columns that are random linear combinations of the informative ones, named `redundant0`, …: 2 by default.
    pub n_redundant: usize,
    /// Columns of standard normal noise, named `noise0`, …: 16 by default.
    pub n_noise: usize,
    /// How many classes there are: 2 by default.
    pub n_classes: usize,
    /// How many clusters each class has: 2 by default.
    pub n_clusters_per_class: usize,
    /// The share of rows whose class is drawn anew, whatever the features say: 0.01 by default.
    pub flip_y: f64,
    /// Half the length of the hypercube's edges: 1 by default; larger is easier.
    pub class_sep: f64,
}

impl Default for ClassificationOptions {
    fn default() -> Self {
        Self {
            n_informative: 2,
            n_redundant: 2,
            n_noise: 16,
            n_classes: 2,
            n_clusters_per_class: 2,
            flip_y: 0.01,
            class_sep: 1.0,
        }
    }
}

impl ClassificationOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the numbers of informative, redundant and noise columns.
    #[must_use]
    pub fn with_columns(mut self, informative: usize, redundant: usize, noise: usize) -> Self {
        (self.n_informative, self.n_redundant, self.n_noise) = (informative, redundant, noise);
        self
    }

    /// Sets the number of classes and of the clusters of each.
    #[must_use]
    pub fn with_classes(mut self, classes: usize, clusters_per_class: usize) -> Self {
        (self.n_classes, self.n_clusters_per_class) = (classes, clusters_per_class);
        self
    }

    /// Sets how far the clusters lie apart, and the share of rows whose class is drawn anew.
    #[must_use]
    pub fn with_difficulty(mut self, class_sep: f64, flip_y: f64) -> Self {
        (self.class_sep, self.flip_y) = (class_sep, flip_y);
        self
    }

    fn check(&self) -> Result<()> {
        let clusters = self.n_classes.saturating_mul(self.n_clusters_per_class);
        let corners = 1_usize.checked_shl(u32::try_from(self.n_informative).unwrap_or(u32::MAX));
        let reason = if self.n_classes < 2 || self.n_clusters_per_class == 0 {
            "at least two classes of one cluster each are needed".to_owned()
        } else if corners.is_some_and(|corners| corners < clusters) {
            format!(
                "{clusters} clusters do not fit on the corners of {} dimensions",
                self.n_informative
            )
        } else if self.n_informative > 1024 {
            "at most 1024 informative columns are allowed".to_owned()
        } else if !(0.0..=1.0).contains(&self.flip_y) || !self.class_sep.is_finite() {
            "flip_y must be from 0 to 1 and class_sep finite".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::Invalid { what: "the options of make_classification".to_owned(), reason })
    }
}

/// Rows of classes, shuffled, with the target `class` of the classes `0`, `1`, ….
///
/// Each cluster is a standard normal cloud, turned and stretched by a random matrix uniform in [-1, 1), around its own corner of a
/// hypercube with edges of twice `class_sep`; clusters go to classes in turn. The definition is that of scikit-learn's
/// `make_classification` (after Guyon 2003, the "Madelon" data) without its repeated columns and column shuffling, so that names tell the
/// kinds of columns apart; the random numbers are not NumPy's.
///
/// # Errors
/// If the clusters do not fit on the corners, there are fewer than two classes, or a share is not from 0 to 1.
pub fn make_classification(
    n_rows: usize,
    options: &ClassificationOptions,
    seed: u64,
) -> Result<Table> {
    options.check()?;
    let mut generator = random::stream(seed, 0);
    let n_clusters = options.n_classes * options.n_clusters_per_class;
    let corners = corners(&mut generator, n_clusters, options);
    let informative = options.n_informative;
    let mut x = Array2::zeros((n_rows, informative + options.n_redundant + options.n_noise));
    let mut labels = vec![0; n_rows];
    let mut order: Vec<usize> = (0..n_rows).collect();
    random::shuffle(&mut generator, &mut order);
    for (cluster, corner) in corners.iter().enumerate() {
        let turn = matrix(&mut generator, informative, informative);
        for &row in order.iter().skip(cluster).step_by(n_clusters) {
            let cloud =
                Array1::from_shape_simple_fn(informative, || random::normal(&mut generator));
            x.slice_mut(s![row, ..informative]).assign(&(cloud.dot(&turn) + corner));
            labels[row] = cluster % options.n_classes;
        }
    }
    let mix = matrix(&mut generator, informative, options.n_redundant);
    let redundant = x.slice(s![.., ..informative]).dot(&mix);
    x.slice_mut(s![.., informative..informative + options.n_redundant]).assign(&redundant);
    x.slice_mut(s![.., informative + options.n_redundant..])
        .mapv_inplace(|_| random::normal(&mut generator));
    for label in &mut labels {
        if random::uniform(&mut generator) < options.flip_y {
            *label = random::below(&mut generator, options.n_classes as u64) as usize;
        }
    }
    let named = |kind: &'static str, count| (0..count).map(move |i| format!("{kind}{i}"));
    let names = named("informative", informative)
        .chain(named("redundant", options.n_redundant))
        .chain(named("noise", options.n_noise));
    Table::new(names, x)?.with_classes("class", labels, named("", options.n_classes))
}

/// Distinct corners of the hypercube, one a cluster.
fn corners(
    generator: &mut ChaCha8Rng,
    count: usize,
    options: &ClassificationOptions,
) -> Vec<Array1<f64>> {
    let mut seen = HashSet::new();
    let mut corners = Vec::with_capacity(count);
    while corners.len() < count {
        let sides: Vec<bool> =
            (0..options.n_informative).map(|_| random::below(generator, 2) == 1).collect();
        if seen.insert(sides.clone()) {
            let side = |up: &bool| if *up { options.class_sep } else { -options.class_sep };
            corners.push(sides.iter().map(side).collect());
        }
    }
    corners
}

fn matrix(generator: &mut ChaCha8Rng, rows: usize, columns: usize) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, columns), || 2.0 * random::uniform(generator) - 1.0)
}
