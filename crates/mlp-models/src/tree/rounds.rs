//! The rounds of gradient boosting, and when they end.

use std::borrow::Cow;

use mlp_core::random::{self, ChaCha8Rng};
use mlp_core::{FitError, Samples};
use ndarray::{Axis, CowArray, Ix2};

use super::bins::Table;
use super::boosted::FittedBoosting;
use super::boosting::{EarlyStopping, GradientBoosting, MIN_GAIN};
use super::fit::check_row_count;
use super::leafwise::{Field, LeafGrower, LeafRules, with_grower};
use super::loss::Loss;
use super::nodes::Nodes;
use super::trend::Trends;
use crate::support::{Goal, check_no_infinite_feature, held_groups, weights};

/// The stream that says which rows are held out: beyond the number of any round.
const HELD_OUT: u64 = u64::MAX;

/// A boosting about to begin.
pub(super) struct Boost<'s, 'd> {
    settings: &'s GradientBoosting,
    rules: LeafRules,
    trends: Trends,
    seed: u64,
    train: Part<'d>,
    /// The classes of the training rows, ascending; none for numbers.
    present: Vec<usize>,
    /// The best constant scores.
    base: Vec<f64>,
    watch: Option<Watch>,
}

/// Some rows, and the truth about them.
struct Part<'d> {
    features: CowArray<'d, f64, Ix2>,
    weights: Vec<f64>,
    loss: Loss,
}

impl<'d> Part<'d> {
    fn new(
        data: &Samples<'d>,
        goal: &Goal<'_>,
        all_weights: &[f64],
        rows: &[usize],
        present: &[usize],
    ) -> Self {
        let all = data.features();
        // Copied only where rows were left out, or do not lie in one piece each.
        let features = if rows.len() == all.nrows() && all.is_standard_layout() {
            all
        } else {
            all.select(Axis(0), rows).as_standard_layout().into_owned().into()
        };
        Self {
            features,
            weights: rows.iter().map(|&row| all_weights[row]).collect(),
            loss: Loss::new(goal, rows, present),
        }
    }

    fn into_owned(self) -> Part<'static> {
        let Self { features, weights, loss } = self;
        Part { features: features.into_owned().into(), weights, loss }
    }
}

impl<'s, 'd> Boost<'s, 'd> {
    pub(super) fn new(
        settings: &'s GradientBoosting,
        data: &Samples<'d>,
        validation: Option<&Samples<'_>>,
        seed: u64,
    ) -> Result<Self, FitError> {
        let mut rules = settings.rules()?;
        let goal = Goal::of(data)?;
        let all_weights = weights(data)?;
        if data.n_features() == 0 {
            return Err(FitError::TooFew { what: "features", given: 0, needed: 1 });
        }
        check_row_count(data)?;
        check_no_infinite_feature(data)?;
        let mut rows: Vec<usize> =
            (0..all_weights.len()).filter(|&row| all_weights[row] > 0.0).collect();
        let mut held = Vec::new();
        if let (Some(early), None) = (settings.early_stopping, validation) {
            (rows, held) = hold_out(&goal, data.groups(), &rows, early.share, seed)?;
        }
        let (present, base) = start(&goal, &all_weights, &rows)?;
        let trends = Trends::new(&settings.monotone, data.names(), present.len())?;
        let train = Part::new(data, &goal, &all_weights, &rows, &present);
        // Whatever the unit of the weights and of the target is, the trees are the same.
        let weight = train.weights.iter().sum::<f64>() / train.weights.len() as f64;
        rules.min_hessian *= weight;
        rules.min_gain =
            rules.min_gain.max(MIN_GAIN * weight * train.loss.unit(&base, &train.weights));
        let early = settings.early_stopping.unwrap_or_default();
        let watch = match validation {
            Some(given) => {
                check_alike(data, given)?;
                let (goal, weights) = (Goal::of(given)?, weights(given)?);
                let rows: Vec<usize> =
                    (0..weights.len()).filter(|&row| weights[row] > 0.0).collect();
                Some(Watch::new(given, &goal, &weights, &rows, &present, &base, early)?)
            }
            None if settings.early_stopping.is_some() => {
                Some(Watch::new(data, &goal, &all_weights, &held, &present, &base, early)?)
            }
            None => None,
        };
        Ok(Self { settings, rules, trends, seed, train, present, base, watch })
    }

    pub(super) fn run(mut self, data: &Samples<'d>) -> Result<FittedBoosting, FitError> {
        let (mut nodes, mut gains) = (Nodes::new(1), vec![0.0; self.train.features.ncols()]);
        let table = Table::narrow(self.train.features.view(), self.rules.threads);
        let mut watch = self.watch.take();
        let field = Field {
            table: &table,
            loss: &self.train.loss,
            weights: &self.train.weights,
            base: &self.base,
            rules: &self.rules,
            trends: &self.trends,
        };
        with_grower(&field, |grower| self.rounds(grower, &mut nodes, &mut gains, watch.as_mut()));
        let mut losses = Vec::new();
        if let Some(watch) = watch {
            nodes.truncate(watch.best_round * self.base.len());
            (gains, losses) = (watch.best_gains, watch.losses);
        }
        let signature = Goal::of(data)?.signature(data);
        Ok(FittedBoosting::new(signature, (self.present, self.base), nodes, &gains, losses))
    }

    fn rounds(
        &self,
        mut grower: LeafGrower<'_, '_, '_>,
        nodes: &mut Nodes,
        gains: &mut [f64],
        mut watch: Option<&mut Watch>,
    ) {
        let (features, n_scores) = (&self.train.features, self.base.len());
        let mut draw = Draw::new(self.settings, features.nrows(), features.ncols());
        for round in 0..self.settings.rounds {
            draw.next(&mut random::stream(self.seed, round as u64), &mut grower);
            grower.take_slopes();
            for score in 0..n_scores {
                grower.grow(score, nodes, gains);
                let tree = nodes.n_trees() - 1;
                grower.add(&draw.others, |row| {
                    features.row(row).as_slice().map_or(0.0, |cells| nodes.leaf(tree, cells)[0])
                });
            }
            if watch.as_mut().is_some_and(|watch| watch.ends(nodes, n_scores, gains)) {
                break;
            }
        }
    }
}

/// The classes that have weight in these rows, and the best constant scores.
fn start(
    goal: &Goal<'_>,
    weights: &[f64],
    rows: &[usize],
) -> Result<(Vec<usize>, Vec<f64>), FitError> {
    let total: f64 = rows.iter().map(|&row| weights[row]).sum();
    match goal {
        Goal::Values(values) => {
            let sum: f64 = rows.iter().map(|&row| weights[row] * values[row]).sum();
            Ok((Vec::new(), vec![sum / total]))
        }
        Goal::Classes(labels, names) => {
            let mut sums = vec![0.0; names.len()];
            rows.iter().for_each(|&row| sums[labels[row]] += weights[row]);
            let present: Vec<usize> = (0..sums.len()).filter(|&class| sums[class] > 0.0).collect();
            if let [only] = present[..] {
                return Err(FitError::SingleClass { class: names[only].clone() });
            }
            let base = match present[..] {
                [negative, positive] => vec![(sums[positive] / sums[negative]).ln()],
                _ => present.iter().map(|&class| (sums[class] / total).ln()).collect(),
            };
            Ok((present, base))
        }
    }
}

/// Rows to learn from, and rows that tell when to stop: of each class the same share, or whole groups.
fn hold_out(
    goal: &Goal<'_>,
    groups: Option<Cow<'_, [u64]>>,
    rows: &[usize],
    share: f64,
    seed: u64,
) -> Result<(Vec<usize>, Vec<usize>), FitError> {
    let mut generator = random::stream(seed, HELD_OUT);
    let mut is_held = vec![false; rows.len()];
    if let Some(groups) = groups {
        let groups: Vec<u64> = rows.iter().map(|&row| groups[row]).collect();
        is_held = held_groups(&mut generator, &groups, share);
    } else {
        let class = |place: usize| match goal {
            Goal::Classes(labels, _) => labels[rows[place]],
            Goal::Values(_) => 0,
        };
        let classes = (0..rows.len()).map(class).max().map_or(0, |last| last + 1);
        let mut places = vec![Vec::new(); classes];
        (0..rows.len()).for_each(|place| places[class(place)].push(place));
        for mut places in places {
            random::shuffle(&mut generator, &mut places);
            places.truncate((places.len() as f64 * share).round() as usize);
            places.into_iter().for_each(|place| is_held[place] = true);
        }
    }
    let part = |wanted| {
        let chosen = rows.iter().zip(&is_held).filter(move |(_, held)| **held == wanted);
        chosen.map(|(&row, _)| row).collect::<Vec<usize>>()
    };
    let (train, held) = (part(false), part(true));
    for (what, part) in [("rows to learn from", &train), ("rows held out", &held)] {
        if part.is_empty() {
            return Err(FitError::TooFew { what, given: 0, needed: 1 });
        }
    }
    Ok((train, held))
}

/// Refuses validation rows of another kind than the training rows.
fn check_alike(data: &Samples<'_>, validation: &Samples<'_>) -> Result<(), FitError> {
    if data.names() != validation.names() {
        return Err(FitError::failed(
            "the validation rows have other features than the training rows",
        ));
    }
    if let (Goal::Classes(_, names), Goal::Classes(_, others)) =
        (Goal::of(data)?, Goal::of(validation)?)
        && names != others
    {
        return Err(FitError::failed(
            "the validation rows have other classes than the training rows",
        ));
    }
    if let Goal::Values(_) = Goal::of(data)? {
        validation.values()?;
    } else {
        validation.classes()?;
    }
    check_no_infinite_feature(validation)
}

/// The loss on rows that are not learnt from.
struct Watch {
    part: Part<'static>,
    scores: Vec<f64>,
    early: EarlyStopping,
    losses: Vec<f64>,
    best_round: usize,
    best_gains: Vec<f64>,
}

impl Watch {
    fn new(
        data: &Samples<'_>,
        goal: &Goal<'_>,
        weights: &[f64],
        rows: &[usize],
        present: &[usize],
        base: &[f64],
        early: EarlyStopping,
    ) -> Result<Self, FitError> {
        let counts = |row: &usize| match goal {
            Goal::Classes(labels, _) => present.binary_search(&labels[*row]).is_ok(),
            Goal::Values(_) => true,
        };
        let rows: Vec<usize> = rows.iter().copied().filter(counts).collect();
        if rows.is_empty() {
            let what =
                "validation rows with a weight above 0 and a class that the training rows have";
            return Err(FitError::TooFew { what, given: 0, needed: 1 });
        }
        let part = Part::new(data, goal, weights, &rows, present).into_owned();
        let scores = rows.iter().flat_map(|_| base.iter().copied()).collect();
        Ok(Self { part, scores, early, losses: Vec::new(), best_round: 0, best_gains: Vec::new() })
    }

    /// Takes the newest round's trees, and tells whether it was the last one.
    fn ends(&mut self, nodes: &Nodes, n_scores: usize, gains: &[f64]) -> bool {
        let first = nodes.n_trees() - n_scores;
        for (row, scores) in self.scores.chunks_exact_mut(n_scores).enumerate() {
            if let Some(cells) = self.part.features.row(row).as_slice() {
                let trees = scores.iter_mut().zip(first..);
                trees.for_each(|(score, tree)| *score += nodes.leaf(tree, cells)[0]);
            }
        }
        let loss = self.part.loss.mean(&self.scores, &self.part.weights, n_scores);
        let best = self.best_round.checked_sub(1).map(|round| self.losses[round]);
        self.losses.push(loss);
        if best.is_none_or(|best| loss < best - self.early.tolerance) {
            self.best_round = self.losses.len();
            self.best_gains = gains.to_vec();
        }
        self.losses.len() - self.best_round >= self.early.patience
    }
}

/// Draws the rows and features of the rounds.
struct Draw {
    /// The rows that were not drawn.
    others: Vec<u32>,
    sizes: [usize; 2],
    counts: [usize; 2],
}

impl Draw {
    fn new(settings: &GradientBoosting, n_rows: usize, n_features: usize) -> Self {
        let size = |n: usize, share: f64| ((n as f64 * share).ceil() as usize).clamp(1, n);
        let sizes = [size(n_rows, settings.rows), size(n_features, settings.features)];
        Self { others: Vec::new(), sizes, counts: [n_rows, n_features] }
    }

    fn next(&mut self, generator: &mut ChaCha8Rng, grower: &mut LeafGrower<'_, '_, '_>) {
        let [n_rows, n_features] = self.counts;
        if self.sizes[0] < n_rows {
            let all = chosen_first(generator, n_rows, self.sizes[0]);
            let (rows, others) = all.split_at(self.sizes[0]);
            // In their order, also for the sake of the cache.
            let ascending = |rows: &[usize]| {
                let mut rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
                rows.sort_unstable();
                rows
            };
            grower.draw_rows(&ascending(rows));
            self.others = ascending(others);
        }
        if self.sizes[1] < n_features {
            let mut features = chosen_first(generator, n_features, self.sizes[1]);
            features.truncate(self.sizes[1]);
            features.sort_unstable();
            grower.draw_features(&features);
        }
    }
}

/// The numbers below `n`, `size` of them drawn to the front.
fn chosen_first(generator: &mut ChaCha8Rng, n: usize, size: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..n).collect();
    for place in 0..size {
        let other = place + random::below(generator, (n - place) as u64) as usize;
        all.swap(place, other);
    }
    all
}
