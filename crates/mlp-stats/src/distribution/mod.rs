//! Tails and quantiles of the distributions that tests need.

mod beta;
mod gamma;
mod kolmogorov;
mod normal;
mod student;

pub use beta::f_tail;
pub(crate) use beta::{beta_quantile, log_beta, log_upper_ratio};
pub use gamma::chi_squared_tail;
pub(crate) use gamma::log_factorial;
pub(crate) use kolmogorov::kolmogorov_tail;
pub use normal::normal_quantile;
pub use normal::normal_tail;
pub use student::{student_t_quantile, student_t_tail};

/// The root of a monotone function between two places where its sign differs, to the last bit or so (bisection).
pub(crate) fn root(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let rises = f(high) > 0.0;
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if (f(middle) > 0.0) == rises { high = middle } else { low = middle }
    }
    low + (high - low) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values: SciPy 1.17.1.
    #[test]
    fn tails_agree_with_scipy() {
        let close = |ours: f64, theirs: f64| {
            assert!((ours - theirs).abs() <= 1e-10 * theirs.abs(), "{ours} for {theirs}")
        };
        close(student_t_tail(1.0, 4.0), 0.18695048315002943);
        close(student_t_tail(2.0, 9.0), 0.038276411885350504);
        close(student_t_tail(-1.5, 9.0), 0.9160746719714625);
        close(student_t_tail(0.5, 1.0), 0.35241638234956674);
        close(student_t_tail(40.0, 4.0), 1.1670081613006339e-06);
        close(f_tail(119.26450218449871, 2.0, 147.0), 1.6696691907731882e-31);
        close(chi_squared_tail(10.817820878494002, 2.0), 0.004476514990225768);
        close(chi_squared_tail(116.31261309207025, 2.0), 5.533972277193866e-26);
        close(normal_tail(1.959963984540054), 0.025);
        close(student_t_quantile(0.995, 99.0), 2.626405457280827);
        close(normal_quantile(0.975), 1.959963984540054);
        close(normal_quantile(1e-300), -37.0470962993612);
    }
}
