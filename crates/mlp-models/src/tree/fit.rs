//! Fitting trees: from samples to nodes, on one thread or several.

use std::collections::BTreeMap;

use mlp_core::random::{self, ChaCha8Rng};
use mlp_core::{FitError, Samples};

use super::bins::{Binned, Code, Resolution, Table};
use super::evidence::{ClassPart, Classes, Evidence, Item, ValuePart, Values};
use super::grow::{Grower, Rules};
use super::model::FittedTrees;
use super::nodes::Nodes;
use super::threads::in_parts;
use super::trend::{Trend, Trends};
use crate::support::{Goal, check_no_infinite_feature, weights};

/// The rows of one tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sampling {
    All,
    /// This share of them, drawn with replacement.
    Bootstrap(f64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub n_trees: usize,
    pub threads: usize,
    pub sampling: Sampling,
    pub resolution: Resolution,
    pub rules: Rules,
    pub monotone: &'a BTreeMap<String, Trend>,
}

const MAX_CLASSES: usize = 256;
const MAX_ROWS: usize = 1 << 31;

pub(crate) fn fit_trees(
    data: &Samples<'_>,
    plan: &Plan<'_>,
    seed: u64,
) -> Result<FittedTrees, FitError> {
    let goal = Goal::of(data)?;
    let signature = goal.signature(data);
    let weights = weights(data)?;
    if data.n_features() == 0 {
        return Err(FitError::TooFew { what: "features", given: 0, needed: 1 });
    }
    check_row_count(data)?;
    check_no_infinite_feature(data)?;
    let classes = if let Goal::Classes(_, names) = &goal { names.len() } else { 0 };
    let trends = &Trends::new(plan.monotone, data.names(), classes)?;
    let binned = Binned::new(data.features().view(), plan.resolution, plan.threads);
    let (nodes, gains) = match &goal {
        Goal::Classes(labels, names) => {
            let part = |row: usize, weight: f64| ClassPart { class: labels[row] as u32, weight };
            let job = Job { plan, trends, seed, weights: &weights, part, width: names.len() };
            match names.len() {
                0..=2 => job.run::<Classes<2>>(&binned),
                3..=4 => job.run::<Classes<4>>(&binned),
                5..=16 => job.run::<Classes<16>>(&binned),
                17..=MAX_CLASSES => job.run::<Classes<MAX_CLASSES>>(&binned),
                given => {
                    return Err(FitError::failed(format!(
                        "{given} classes are given, a tree takes at most {MAX_CLASSES}"
                    )));
                }
            }
        }
        Goal::Values(values) => {
            // Sums around the mean keep their digits where values are far from zero.
            let sum: f64 = values.iter().zip(&*weights).map(|(value, weight)| weight * value).sum();
            let mean = sum / weights.iter().sum::<f64>();
            let part = |row: usize, weight: f64| ValuePart { value: values[row] - mean, weight };
            let job = Job { plan, trends, seed, weights: &weights, part, width: 1 };
            let (mut nodes, gains) = job.run::<Values>(&binned);
            nodes.shift(mean);
            (nodes, gains)
        }
    };
    Ok(FittedTrees::new(signature, nodes, gains))
}

/// Refuses more rows than trees can number.
pub(super) fn check_row_count(data: &Samples<'_>) -> Result<(), FitError> {
    if data.n_rows() > MAX_ROWS {
        return Err(FitError::failed(format!(
            "{} rows are given, a tree takes at most {MAX_ROWS}",
            data.n_rows()
        )));
    }
    Ok(())
}

struct Job<'a, F> {
    plan: &'a Plan<'a>,
    trends: &'a Trends,
    seed: u64,
    weights: &'a [f64],
    part: F,
    width: usize,
}

impl<F> Job<'_, F> {
    fn run<E: Evidence>(&self, binned: &Binned) -> (Nodes, Vec<f64>)
    where
        F: Fn(usize, f64) -> E::Part + Sync,
    {
        match binned {
            Binned::Narrow(table) => self.grow::<u8, E>(table),
            Binned::Wide(table) => self.grow::<u16, E>(table),
        }
    }

    fn grow<C: Code, E: Evidence>(&self, table: &Table<C>) -> (Nodes, Vec<f64>)
    where
        F: Fn(usize, f64) -> E::Part + Sync,
    {
        let threads = self.plan.threads.min(self.plan.n_trees);
        let grow_every = |first: usize| {
            let mut grower = Grower::<C, E>::new(table, self.plan.rules, self.trends);
            let own = (first..self.plan.n_trees).step_by(threads);
            own.map(|tree| self.tree(tree, &mut grower)).collect::<Vec<_>>()
        };
        let mut grown: Vec<Vec<(Nodes, Vec<f64>)>> =
            in_parts(threads, threads, |own| own.flat_map(grow_every).collect());
        let mut nodes = Nodes::new(self.width);
        let mut gains = vec![0.0; table.n_features()];
        for tree in 0..self.plan.n_trees {
            let (other, other_gains) = std::mem::take(&mut grown[tree % threads][tree / threads]);
            nodes.append(&other);
            let total: f64 = other_gains.iter().sum();
            if total > 0.0 {
                gains.iter_mut().zip(other_gains).for_each(|(sum, gain)| *sum += gain / total);
            }
        }
        (nodes, gains)
    }

    fn tree<C: Code, E: Evidence>(
        &self,
        number: usize,
        grower: &mut Grower<'_, C, E>,
    ) -> (Nodes, Vec<f64>)
    where
        F: Fn(usize, f64) -> E::Part,
    {
        let mut generator = random::stream(self.seed, number as u64);
        let mut items = self.items(&mut generator);
        let mut nodes = Nodes::new(self.width);
        let mut gains = vec![0.0; grower.n_features()];
        grower.grow(&mut items, &mut nodes, &mut gains, &mut generator);
        nodes.arrange();
        (nodes, gains)
    }

    /// The rows of one tree; a bootstrap that draws only rows without weight takes all rows instead.
    fn items<P>(&self, generator: &mut ChaCha8Rng) -> Vec<Item<P>>
    where
        F: Fn(usize, f64) -> P,
    {
        let n = self.weights.len();
        let mut times = vec![1_u32; n];
        if let Sampling::Bootstrap(share) = self.plan.sampling {
            times.fill(0);
            for _ in 0..((n as f64 * share) as usize).clamp(1, n) {
                times[random::below(generator, n as u64) as usize] += 1;
            }
            if !times.iter().zip(self.weights).any(|(&times, &weight)| times > 0 && weight > 0.0) {
                times.fill(1);
            }
        }
        let rows = times.iter().zip(self.weights).enumerate();
        rows.map(|(row, (&times, weight))| (row, f64::from(times) * weight))
            .filter(|&(_, weight)| weight > 0.0)
            .map(|(row, weight)| Item { row: row as u32, part: (self.part)(row, weight) })
            .collect()
    }
}
