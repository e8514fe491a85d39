//! The distribution of the one-sample Kolmogorov statistic.

use std::f64::consts::PI;

use super::log_factorial;

/// The chance that the two-sided Kolmogorov distance of `n` values from their own distribution exceeds `x` (SciPy's `kstwo.sf`).
///
/// Simard and L'Ecuyer 2011, *Computing the two-sided Kolmogorov-Smirnov distribution*, choose the method by `n` and `n x²`: the
/// end pieces have closed forms (Ruben and Gambino 1982), the middle is Durbin's matrix (Marsaglia, Tsang and Wang 2003), the upper tail
/// twice Smirnov's one-sided sum (Miller 1956), large samples the expansion of Pelz and Good (1976).
pub(crate) fn kolmogorov_tail(n: u64, x: f64) -> f64 {
    let size = n as f64;
    let reach = size * x;
    if n == 0 || reach <= 0.5 {
        return 1.0;
    }
    if x >= 1.0 {
        return 0.0;
    }
    if reach <= 1.0 {
        let log = log_factorial(size) - size * size.ln() + size * (2.0 * reach - 1.0).ln();
        return (1.0 - log.exp()).clamp(0.0, 1.0);
    }
    let squared = reach * x;
    let upper = if n <= 140 { 4.0 } else { 2.2 };
    if reach >= size - 1.0 || x >= 0.5 || squared > upper {
        return (2.0 * smirnov_tail(size, x)).min(1.0);
    }
    let tail = if n <= 140 || (n <= 100_000 && size * x.powf(1.5) <= 1.4) {
        1.0 - durbin(n, x)
    } else {
        1.0 - pelz_good(size, x)
    };
    tail.clamp(0.0, 1.0)
}

/// The chance that the one-sided distance exceeds `x` (Birnbaum and Tingey 1951); all terms are positive.
fn smirnov_tail(n: f64, x: f64) -> f64 {
    if n * x * x > 372.0 {
        return 0.0; // below e⁻⁷⁴⁴, the least double
    }
    let last = (n * (1.0 - x)).floor() as u64;
    let log_n = log_factorial(n);
    let term = |j: u64| {
        let j = j as f64;
        let (share, rest) = (x + j / n, 1.0 - x - j / n);
        if rest <= 0.0 {
            return if n - j == 0.0 { (n - 1.0) * share.ln() } else { f64::NEG_INFINITY };
        }
        log_n - log_factorial(j) - log_factorial(n - j)
            + (j - 1.0) * share.ln()
            + (n - j) * rest.ln()
    };
    // The logarithms of the terms rise to one peak and fall: what is far below it adds nothing.
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = low + (high - low) / 2;
        if term(middle + 1) > term(middle) { low = middle + 1 } else { high = middle }
    }
    let worth = |log: &f64| *log > term(low) - 60.0;
    let below = (0..low).rev().map(term).take_while(worth);
    let above = (low..=last).map(term).take_while(worth);
    x * crate::sum::sum(below.chain(above).map(f64::exp))
}

/// A square matrix with a power of ten taken out.
struct Scaled {
    cells: Vec<f64>,
    exponent: i32,
}

impl Scaled {
    fn times(&self, other: &Self, size: usize) -> Self {
        let mut cells = vec![0.0; size * size];
        for (row, out) in self.cells.chunks_exact(size).zip(cells.chunks_exact_mut(size)) {
            for (&left, right) in row.iter().zip(other.cells.chunks_exact(size)) {
                out.iter_mut().zip(right).for_each(|(cell, right)| *cell += left * right);
            }
        }
        let mut product = Self { cells, exponent: self.exponent + other.exponent };
        if product.cells[size / 2 * size + size / 2] > 1e140 {
            product.cells.iter_mut().for_each(|cell| *cell *= 1e-140);
            product.exponent += 140;
        }
        product
    }
}

/// The chance that the distance is at most `x`, as `n!/nⁿ` times the middle cell of the `n`-th power of Durbin's matrix.
fn durbin(n: u64, x: f64) -> f64 {
    let reach = n as f64 * x;
    let k = reach.ceil();
    let h = k - reach;
    let size = 2 * k as usize - 1;
    let mut inverse_factorials = vec![1.0; size + 1];
    for i in 1..=size {
        inverse_factorials[i] = inverse_factorials[i - 1] / i as f64;
    }
    let cell = |row: usize, column: usize| {
        if column > row + 1 {
            return 0.0;
        }
        let distance = row + 1 - column;
        let edge = |power: usize| h.powi(power as i32);
        let mut value = 1.0;
        if column == 0 {
            value -= edge(row + 1);
        }
        if row == size - 1 {
            value -= edge(size - column);
        }
        if column == 0 && row == size - 1 {
            value = 1.0 - 2.0 * edge(size) + (2.0 * h - 1.0).max(0.0).powi(size as i32);
        }
        value * inverse_factorials[distance]
    };
    let cells = (0..size * size).map(|at| cell(at / size, at % size)).collect();
    let mut base = Scaled { cells, exponent: 0 };
    let identity = (0..size * size).map(|at| f64::from(at / size == at % size)).collect();
    let mut power = Scaled { cells: identity, exponent: 0 };
    let mut left = n;
    while left > 0 {
        if left % 2 == 1 {
            power = power.times(&base, size);
        }
        left /= 2;
        if left > 0 {
            base = base.times(&base, size);
        }
    }
    let (mut middle, mut exponent) = (power.cells[size / 2 * size + size / 2], power.exponent);
    for i in 1..=n {
        middle *= i as f64 / n as f64;
        if middle < 1e-140 {
            middle *= 1e140;
            exponent -= 140;
        }
    }
    middle * 10_f64.powi(exponent)
}

/// The chance that the distance is at most `x` for large `n`: four terms of the expansion in `1/√n`, each a theta series turned over so
/// that it converges fast.
fn pelz_good(n: f64, x: f64) -> f64 {
    let z = n.sqrt() * x;
    let (z2, z4, z6, z8) = (z.powi(2), z.powi(4), z.powi(6), z.powi(8));
    let (pi2, pi4, pi6) = (PI.powi(2), PI.powi(4), PI.powi(6));
    let mut terms = [0.0; 4];
    for k in (0..20).rev() {
        let odd = f64::from(2 * k + 1);
        let (m2, m4, m6) = (odd.powi(2), odd.powi(4), odd.powi(6));
        let weight = (-pi2 * m2 / (8.0 * z2)).exp();
        let series = [
            1.0,
            pi2 / 4.0 * m2 - z2,
            6.0 * z6
                + 2.0 * z4
                + pi2 / 4.0 * (2.0 * z4 - 5.0 * z2) * m2
                + pi4 / 16.0 * (1.0 - 2.0 * z2) * m4,
            -30.0 * z6 - 90.0 * z8
                + pi2 / 4.0 * (135.0 * z4 - 96.0 * z6) * m2
                + pi4 / 16.0 * (212.0 * z4 - 60.0 * z2) * m4
                + pi6 / 64.0 * (5.0 - 30.0 * z2) * m6,
        ];
        terms.iter_mut().zip(series).for_each(|(sum, term)| *sum += weight * term);
    }
    let root = (2.0 * PI).sqrt();
    let scales = [z, 6.0 * z4, 72.0 * z.powi(7), 6_480.0 * z.powi(10)];
    terms.iter_mut().zip(scales).for_each(|(term, scale)| *term *= root / scale);
    for k in (1..20).rev() {
        let k2 = f64::from(k * k);
        let weight = (-pi2 * k2 / (2.0 * z2)).exp() * k2 * pi2 * root;
        terms[2] -= weight / (36.0 * z.powi(3));
        terms[3] += weight * (3.0 * z2 - pi2 * k2) / (216.0 * z6);
    }
    terms.iter().enumerate().map(|(power, term)| term / n.powf(power as f64 / 2.0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: `scipy.stats.kstwo.sf` of SciPy 1.17.1.
    #[test]
    fn every_method_agrees_with_scipy() {
        let cases = [
            (1, 0.7, 0.6000000000000001),
            (4, 0.2, 0.98785),
            (10, 0.12, 0.9948566839762616),
            (10, 0.95, 1.9531250000000172e-13),
            (10, 0.3, 0.27053557479999946),
            (50, 0.1, 0.6623112704658186),
            (50, 0.15, 0.19026366518248072),
            (140, 0.05, 0.8576480297656114),
            (140, 0.2, 2.1981563302200222e-05),
            (140, 0.6, 1.0052268370224967e-48),
            (141, 0.05, 0.854845693009663),
            (1000, 0.01, 0.9999496745370611),
            (1000, 0.03, 0.3226902143914636),
            (1000, 0.06, 0.001428597887952891),
            (1000, 0.2, 1.5528629204250538e-35),
            (20000, 0.004, 0.9048968240702959),
            (20000, 0.01, 0.03638603905248727),
            (20000, 0.02, 2.2181270070049744e-07),
            (500000, 0.001, 0.6989801443663661),
            (500000, 0.002, 0.036582179671620585),
            (500000, 0.0005, 0.9996286945544336),
            (3, 0.9, 0.0019999999999999987),
        ];
        for (n, x, theirs) in cases {
            let ours = kolmogorov_tail(n, x);
            let error = (ours - theirs).abs();
            assert!(error <= 1e-9 * theirs || error <= 1e-14, "n {n}, x {x}: {ours} for {theirs}");
        }
        assert_eq!((kolmogorov_tail(5, 0.05), kolmogorov_tail(5, 1.0)), (1.0, 0.0));
    }
}
