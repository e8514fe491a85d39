//! What a tree weighs at a node: class weights, or a weighted sum of values.

use std::fmt::Debug;

/// One training row in a tree: its number, and what it adds to the evidence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<P> {
    pub row: u32,
    pub part: P,
}

/// Evidence about the rows of a node, additive over rows.
pub(crate) trait Evidence: Copy + Default + Send + Sync {
    /// What one row adds.
    type Part: Copy + Send + Sync + Debug;

    fn add(&mut self, part: &Self::Part);
    fn join(&mut self, other: &Self);
    /// This without `other`, which is a part of it.
    fn without(&self, other: &Self) -> Self;
    fn rows(&self) -> u32;
    fn weight(&self) -> f64;
    /// The part of the impurity that a split changes, negated: larger is purer. Gini's for classes, the squared error's for values.
    fn purity(&self) -> f64;
    /// Whether nothing is left to tell apart among these rows.
    fn is_pure(&self, items: &[Item<Self::Part>]) -> bool;
    /// What a monotone constraint orders: the share of the second class, or the mean value.
    fn level(&self) -> f64;
    /// Writes what a leaf of these rows answers.
    fn answer(&self, out: &mut [f64]);
}

/// A row's class and weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClassPart {
    pub class: u32,
    pub weight: f64,
}

/// The weight of each class: of up to `K` classes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Classes<const K: usize> {
    weights: [f64; K],
    rows: u32,
}

impl<const K: usize> Default for Classes<K> {
    fn default() -> Self {
        Self { weights: [0.0; K], rows: 0 }
    }
}

impl<const K: usize> Evidence for Classes<K> {
    type Part = ClassPart;

    #[inline]
    fn add(&mut self, part: &ClassPart) {
        self.weights[part.class as usize] += part.weight;
        self.rows += 1;
    }

    #[inline]
    fn join(&mut self, other: &Self) {
        for (weight, more) in self.weights.iter_mut().zip(&other.weights) {
            *weight += more;
        }
        self.rows += other.rows;
    }

    #[inline]
    fn without(&self, other: &Self) -> Self {
        let weights = std::array::from_fn(|class| self.weights[class] - other.weights[class]);
        Self { weights, rows: self.rows - other.rows }
    }

    fn rows(&self) -> u32 {
        self.rows
    }

    #[inline]
    fn weight(&self) -> f64 {
        self.weights.iter().sum()
    }

    #[inline]
    fn purity(&self) -> f64 {
        self.weights.iter().map(|weight| weight * weight).sum::<f64>() / self.weight()
    }

    fn is_pure(&self, items: &[Item<ClassPart>]) -> bool {
        items.iter().all(|item| item.part.class == items[0].part.class)
    }

    fn level(&self) -> f64 {
        self.weights.get(1).map_or(0.0, |weight| weight / self.weight())
    }

    fn answer(&self, out: &mut [f64]) {
        // Below 0 is what rounding left of nothing.
        let total: f64 = self.weights.iter().map(|weight| weight.max(0.0)).sum();
        for (share, weight) in out.iter_mut().zip(&self.weights) {
            *share = weight.max(0.0) / total;
        }
    }
}

/// A row's value (less the mean of all) and weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValuePart {
    pub value: f64,
    pub weight: f64,
}

/// The weighted sum of values.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values {
    sum: f64,
    weight: f64,
    rows: u32,
}

impl Evidence for Values {
    type Part = ValuePart;

    #[inline]
    fn add(&mut self, part: &ValuePart) {
        self.sum += part.weight * part.value;
        self.weight += part.weight;
        self.rows += 1;
    }

    #[inline]
    fn join(&mut self, other: &Self) {
        self.sum += other.sum;
        self.weight += other.weight;
        self.rows += other.rows;
    }

    #[inline]
    fn without(&self, other: &Self) -> Self {
        Self {
            sum: self.sum - other.sum,
            weight: self.weight - other.weight,
            rows: self.rows - other.rows,
        }
    }

    fn rows(&self) -> u32 {
        self.rows
    }

    fn weight(&self) -> f64 {
        self.weight
    }

    #[inline]
    fn purity(&self) -> f64 {
        self.sum * self.sum / self.weight
    }

    fn is_pure(&self, items: &[Item<ValuePart>]) -> bool {
        items.iter().all(|item| item.part.value == items[0].part.value)
    }

    fn level(&self) -> f64 {
        self.sum / self.weight
    }

    fn answer(&self, out: &mut [f64]) {
        out[0] = self.sum / self.weight;
    }
}
