//! The two loops that an elimination spends its time in, four numbers at a time where the processor can.
//!
//! The only unsafe code of the crate. Rust compiles for the least processor of an architecture, which on x86-64 adds two numbers at a time; a
//! function compiled for AVX may be called only where there is AVX. Measured on 5,000 × 100: the elimination takes two thirds of the time.
//!
//! Both versions are the same source, whose four sums side by side are four lanes of one register or two registers of two lanes: the same
//! additions in the same order, so the results are the same to the last bit on every machine (AVX alone, without fused multiply-add).

/// The products of four rows and some weights, which are loaded once for all.
///
/// # Panics
/// If there are not four rows of as many numbers as there are weights.
pub(crate) fn four_dots(rows: &[f64], weights: &[f64]) -> [f64; 4] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        return avx::four_dots(rows, weights);
    }
    plain_four_dots(rows, weights)
}

/// Adds up to four rows, each times its factor: four at a time, so that the sums are loaded and stored once for all.
pub(crate) fn add_rows(sums: &mut [f64], rows: &[f64], factors: [f64; 4]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        return avx::add_rows(sums, rows, factors);
    }
    plain_add_rows(sums, rows, factors);
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "functions compiled for a feature that was detected")]
mod avx {
    pub(super) fn four_dots(rows: &[f64], weights: &[f64]) -> [f64; 4] {
        #[target_feature(enable = "avx")]
        fn wide(rows: &[f64], weights: &[f64]) -> [f64; 4] {
            super::plain_four_dots(rows, weights)
        }
        // SAFETY: the caller has detected AVX, which is all that `wide` needs beyond what safe code does.
        unsafe { wide(rows, weights) }
    }

    pub(super) fn add_rows(sums: &mut [f64], rows: &[f64], factors: [f64; 4]) {
        #[target_feature(enable = "avx")]
        fn wide(sums: &mut [f64], rows: &[f64], factors: [f64; 4]) {
            super::plain_add_rows(sums, rows, factors);
        }
        // SAFETY: as above.
        unsafe { wide(sums, rows, factors) }
    }
}

#[inline(always)]
fn plain_four_dots(rows: &[f64], weights: &[f64]) -> [f64; 4] {
    let width = weights.len();
    let (first, rest) = rows.split_at(width);
    let (second, rest) = rest.split_at(width);
    let (third, fourth) = rest.split_at(width);
    let (w, w_rest) = weights.as_chunks::<4>();
    let ((a, a_rest), (b, b_rest)) = (first.as_chunks::<4>(), second.as_chunks::<4>());
    let ((c, c_rest), (d, d_rest)) = (third.as_chunks::<4>(), fourth[..width].as_chunks::<4>());
    let (mut p, mut q, mut r, mut s) = ([0.0; 4], [0.0; 4], [0.0; 4], [0.0; 4]);
    for ((w, (a, b)), (c, d)) in w.iter().zip(a.iter().zip(b)).zip(c.iter().zip(d)) {
        for lane in 0..4 {
            p[lane] += a[lane] * w[lane];
            q[lane] += b[lane] * w[lane];
            r[lane] += c[lane] * w[lane];
            s[lane] += d[lane] * w[lane];
        }
    }
    let mut dots = [lanes(p), lanes(q), lanes(r), lanes(s)];
    for (at, w) in w_rest.iter().enumerate() {
        dots[0] += a_rest[at] * w;
        dots[1] += b_rest[at] * w;
        dots[2] += c_rest[at] * w;
        dots[3] += d_rest[at] * w;
    }
    dots
}

#[inline(always)]
fn lanes(sums: [f64; 4]) -> f64 {
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}

#[inline(always)]
fn plain_add_rows(sums: &mut [f64], rows: &[f64], factors: [f64; 4]) {
    let width = sums.len();
    if rows.len() == 4 * width {
        let (first, rest) = rows.split_at(width);
        let (second, rest) = rest.split_at(width);
        let (third, fourth) = rest.split_at(width);
        let four = first.iter().zip(second).zip(third.iter().zip(fourth));
        for (sum, ((a, b), (c, d))) in sums.iter_mut().zip(four) {
            *sum += (factors[0] * a + factors[1] * b) + (factors[2] * c + factors[3] * d);
        }
    } else {
        for (row, factor) in rows.chunks_exact(width).zip(factors) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(seed: u64, count: usize) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 12) as f64 / 2_f64.powi(50) - 2.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// Under Miri no feature is detected, and both are the plain version: what it checks there is the plain code.
    #[test]
    fn both_versions_agree_to_the_last_bit() {
        for width in [1, 2, 3, 4, 5, 8, 15, 100, 101] {
            let (rows, weights) = (numbers(width as u64, 4 * width), numbers(7, width));
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&four_dots(&rows, &weights)), bits(&plain_four_dots(&rows, &weights)));
            let slow: f64 = rows[..width].iter().zip(&weights).map(|(a, b)| a * b).sum();
            assert!((four_dots(&rows, &weights)[0] - slow).abs() < 1e-12);
            for count in 1..=4 {
                let (mut fast, mut plain) = (weights.clone(), weights.clone());
                let factors = [0.5, -1.25, 3.0, 0.1];
                add_rows(&mut fast, &rows[..count * width], factors);
                plain_add_rows(&mut plain, &rows[..count * width], factors);
                assert_eq!(bits(&fast), bits(&plain));
            }
        }
    }
}
