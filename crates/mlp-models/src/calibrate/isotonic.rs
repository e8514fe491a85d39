//! A curve that never falls.

/// The non-decreasing curve of least weighted squares through `(score, target)`, by pooling adjacent violators (Ayer and others 1955; Barlow and
/// others 1972), as its corners: between them it is a straight line, outside constant. As scikit-learn's `IsotonicRegression`: rows of equal scores
/// count as one with their mean target.
pub(super) fn fit(scores: &[f64], targets: &[f64], weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut order: Vec<usize> = (0..scores.len()).filter(|&row| weights[row] > 0.0).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut blocks: Vec<Block> = Vec::new();
    for rows in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let weight: f64 = rows.iter().map(|&row| weights[row]).sum();
        let sum: f64 = rows.iter().map(|&row| weights[row] * targets[row]).sum();
        let score = scores[rows[0]];
        let mut block = Block { from: score, to: score, mean: sum / weight, weight };
        while let Some(before) = blocks.pop_if(|before| before.mean >= block.mean) {
            block = before.joined(&block);
        }
        blocks.push(block);
    }
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for block in blocks {
        from.push(block.from);
        to.push(block.mean);
        if block.to > block.from {
            from.push(block.to);
            to.push(block.mean);
        }
    }
    (from, to)
}

/// Neighbouring scores with one mean.
struct Block {
    from: f64,
    to: f64,
    mean: f64,
    weight: f64,
}

impl Block {
    fn joined(self, next: &Self) -> Self {
        let weight = self.weight + next.weight;
        let mean = (self.mean * self.weight + next.mean * next.weight) / weight;
        Self { from: self.from, to: next.to, mean, weight }
    }
}

/// The curve at a score.
pub(super) fn at(from: &[f64], to: &[f64], score: f64) -> f64 {
    let next = from.partition_point(|corner| *corner < score);
    let last = from.len() - 1;
    match next {
        0 => to[0],
        next if next > last => to[last],
        next => {
            let (left, right) = (from[next - 1], from[next]);
            let share = (score - left) / (right - left);
            to[next - 1] + share * (to[next] - to[next - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn violators_are_pooled() {
        let (from, to) =
            fit(&[1.0, 2.0, 3.0, 4.0, 4.0], &[1.0, 0.0, 0.0, 1.0, 0.0], &[1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(from, [1.0, 3.0, 4.0]);
        assert_eq!(to, [0.25, 0.25, 0.5]);
        assert_eq!(at(&from, &to, 3.5), 0.375);
        assert_eq!((at(&from, &to, -9.0), at(&from, &to, 9.0)), (0.25, 0.5));
    }

    proptest! {
        #[test]
        fn the_curve_never_falls_and_keeps_the_mean(
            rows in prop::collection::vec((0..20_i32, any::<bool>()), 1..60)
        ) {
            let scores: Vec<f64> = rows.iter().map(|(score, _)| f64::from(*score)).collect();
            let targets: Vec<f64> = rows.iter().map(|(_, is)| f64::from(u8::from(*is))).collect();
            let (from, to) = fit(&scores, &targets, &vec![1.0; rows.len()]);
            prop_assert!(from.is_sorted_by(|a, b| a < b) && to.is_sorted());
            let fitted: f64 = scores.iter().map(|score| at(&from, &to, *score)).sum();
            prop_assert!((fitted - targets.iter().sum::<f64>()).abs() < 1e-9);
        }
    }
}
