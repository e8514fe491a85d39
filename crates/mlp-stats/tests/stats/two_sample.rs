use mlp_stats::{
    Alternative, AndersonDarlingVariant, Correction, CountStatistic, HoltWinters, KsMethod,
    MannWhitneyMethod, Proportion, ReferenceBins, Season, Smoothing, anderson_darling_k_sample,
    chi_square_goodness_of_fit, count_test, fisher_exact, hodges_lehmann_shift, jensen_shannon,
    ks_two_sample_with, mann_whitney_with, newcombe_interval, normed_wasserstein, odds_ratio,
    psi_of_counts_evidently, robust_scale, student_t_test, two_proportions, wasserstein,
    welch_t_test,
};

use super::support::{Vectors, counts, number, numbers};

const ALTERNATIVES: [(&str, Alternative); 3] = [
    ("two-sided", Alternative::TwoSided),
    ("less", Alternative::Less),
    ("greater", Alternative::Greater),
];

#[test]
fn vectors_ks_2samp() {
    Vectors::read("ks_2samp").check(|case| {
        let (first, second) = (numbers(case.input("sample1")), numbers(case.input("sample2")));
        for (name, alternative) in ALTERNATIVES {
            let methods = [
                ("exact", KsMethod::Exact),
                ("asymp", KsMethod::Asymptotic),
                ("auto", KsMethod::Auto),
            ];
            for (method_name, method) in methods {
                let theirs = case.expected(&format!("{name}/{method_name}"));
                let ours = ks_two_sample_with(&first, &second, alternative, method).unwrap();
                let what = |value: &str| format!("{name} {method_name} {value}");
                case.close(&what("statistic"), ours.statistic, &theirs["statistic"], 0.0, 1e-12);
                if number(&theirs["pvalue"]).is_nan() {
                    // One value against one: SciPy's effective size rounds to 0; here that is no evidence.
                    case.same(&what("p"), ours.p_value, 1.0);
                } else {
                    case.close(&what("p"), ours.p_value, &theirs["pvalue"], 1e-9, 1e-300);
                }
                // Where the same distance is reached twice, rounding decides in SciPy; here the least value of the first sample.
                let share = |sample: &[f64], at: f64| {
                    sample.iter().filter(|value| **value <= at).count() as f64 / sample.len() as f64
                };
                let apart = |at: f64| share(&first, at) - share(&second, at);
                let place = number(&theirs["statistic_location"]);
                let is_same = (apart(ours.location).abs() - apart(place).abs()).abs() < 1e-12;
                assert!(is_same, "{}: {} for {place}", case.name, ours.location);
                let signed = apart(ours.location);
                let agrees = signed == 0.0 || (signed > 0.0) == ours.first_is_above;
                assert!(
                    agrees,
                    "{}: {signed} where first is above: {}",
                    case.name, ours.first_is_above
                );
                let same_place = ours.location == place && signed != 0.0;
                let sign = if ours.first_is_above { 1.0 } else { -1.0 };
                if same_place {
                    case.close(&what("sign"), sign, &theirs["statistic_sign"], 0.0, 0.0);
                }
            }
        }
    });
}

#[test]
fn vectors_ks_2samp_large_n() {
    Vectors::read("ks_2samp_large_n").check(|case| {
        let size = |name: &str| number(case.param(name)) as usize;
        let shift = number(case.param("shift"));
        let grid = |size: usize, shift: f64| -> Vec<f64> {
            (0..size).map(|i| (i as f64 + 0.5) / size as f64 + shift).collect()
        };
        let (first, second) = (grid(size("n"), 0.0), grid(size("m"), shift));
        let ours = ks_two_sample_with(&first, &second, Alternative::TwoSided, KsMethod::Asymptotic)
            .unwrap();
        case.close("statistic", ours.statistic, case.expected("statistic"), 0.0, 1e-6);
        case.close("p", ours.p_value, case.expected("pvalue_asymp"), 0.01, 1e-300);
    });
}

#[test]
fn vectors_anderson_darling() {
    Vectors::read("anderson_darling_ksamp").check(|case| {
        let samples: Vec<Vec<f64>> =
            case.input("samples").as_array().unwrap().iter().map(numbers).collect();
        let samples: Vec<&[f64]> = samples.iter().map(Vec::as_slice).collect();
        for (name, variant) in [
            ("variant_midrank", AndersonDarlingVariant::Midrank),
            ("variant_right", AndersonDarlingVariant::Right),
        ] {
            let theirs = case.expected(name);
            let ours = anderson_darling_k_sample(&samples, variant).unwrap();
            let statistic = &theirs["statistic_normalised_A2akN"];
            case.close("statistic", ours.statistic, statistic, 1e-10, 0.0);
            case.close(
                "p",
                ours.p_value,
                &theirs["pvalue_interpolated_clipped_0.001_0.25"],
                1e-6,
                0.0,
            );
            let critical = numbers(&theirs["critical_values_25_10_5_2.5_1_0.5_0.1pct"]);
            let is_same =
                ours.critical_values.iter().zip(&critical).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(is_same, "{}: {:?}", case.name, ours.critical_values);
        }
    });
}

#[test]
fn vectors_mann_whitney() {
    Vectors::read("mann_whitney").check(|case| {
        let (first, second) = (numbers(case.input("x")), numbers(case.input("y")));
        for (name, alternative) in ALTERNATIVES {
            for (method_name, method) in [
                ("exact", MannWhitneyMethod::Exact),
                ("asymptotic_cc", MannWhitneyMethod::Asymptotic { continuity: true }),
                ("asymptotic_nocc", MannWhitneyMethod::Asymptotic { continuity: false }),
                ("auto", MannWhitneyMethod::Auto),
            ] {
                let theirs = case.expected(&format!("{name}/{method_name}"));
                let ours = mann_whitney_with(&first, &second, alternative, method).unwrap();
                case.close("U", ours.u, &theirs["U1"], 0.0, 0.0);
                let what = format!("{name} {method_name} p");
                case.close(&what, ours.p_value, &theirs["pvalue"], 1e-9, 0.0);
                let effect = case.expected("cles_P(X>Y)+0.5P(X=Y)");
                case.close("effect", ours.common_language_effect, effect, 1e-12, 0.0);
                case.close(
                    "rank biserial",
                    ours.rank_biserial,
                    case.expected("rank_biserial"),
                    1e-12,
                    1e-15,
                );
            }
        }
        let shift = hodges_lehmann_shift(&first, &second).unwrap();
        let theirs = case.expected("hodges_lehmann_x_minus_y_median_of_differences");
        case.close("shift", shift, theirs, 1e-12, 1e-15);
    });
}

#[test]
fn vectors_welch_t() {
    Vectors::read("welch_t").check(|case| {
        let (x, y) = (numbers(case.input("x")), numbers(case.input("y")));
        let (ours, theirs) = (welch_t_test(&x, &y).unwrap(), case.expected("welch"));
        if !number(&theirs["t"]).is_finite() {
            // Nothing varies: theirs divides by zero, ours is certain of equality or difference.
            assert!([0.0, 1.0].contains(&ours.p_value(Alternative::TwoSided)), "{}", case.name);
            return;
        }
        case.close("t", ours.t, &theirs["t"], 1e-10, 0.0);
        case.close("df", ours.degrees, &theirs["df"], 1e-10, 0.0);
        for (name, alternative) in [
            ("pvalue_two_sided", Alternative::TwoSided),
            ("pvalue_less", Alternative::Less),
            ("pvalue_greater", Alternative::Greater),
        ] {
            case.close(name, ours.p_value(alternative), &theirs[name], 1e-10, 0.0);
        }
        let interval = ours.interval(0.95).unwrap();
        case.close("lower", interval.lower, &theirs["ci95_mean_x_minus_y"][0], 1e-9, 0.0);
        case.close("upper", interval.upper, &theirs["ci95_mean_x_minus_y"][1], 1e-9, 0.0);
        let (ours, theirs) = (student_t_test(&x, &y).unwrap(), case.expected("student_pooled"));
        case.close("pooled t", ours.t, &theirs["t"], 1e-10, 0.0);
        case.close("pooled df", ours.degrees, &theirs["df"], 1e-10, 0.0);
        let p = ours.p_value(Alternative::TwoSided);
        case.close("pooled p", p, &theirs["pvalue_two_sided"], 1e-10, 0.0);
    });
}

#[test]
fn vectors_chi_square() {
    Vectors::read("chi_square").check(|case| {
        let (reference, current) =
            (counts(case.input("reference_counts")), counts(case.input("current_counts")));
        for (name, statistic) in [
            ("contingency_no_correction", CountStatistic::Pearson),
            ("contingency_yates_if_2x2", CountStatistic::PearsonYates),
            ("contingency_g_test_no_correction", CountStatistic::LikelihoodRatio),
        ] {
            let Some(theirs) = case.value["expected"].get(name) else { continue };
            let ours = count_test(&reference, &current, statistic);
            if theirs.get("statistic").is_none() {
                super::support::tell(&format!(
                    "{}: {name}: {theirs} there, {ours:?} here",
                    case.name
                ));
                continue;
            }
            let ours = ours.unwrap();
            case.close(name, ours.statistic, &theirs["statistic"], 1e-10, 1e-12);
            case.close(name, ours.p_value, &theirs["pvalue"], 1e-8, 0.0);
        }
        if let Some(theirs) = case.value["expected"].get("cramers_v") {
            let ours = count_test(&reference, &current, CountStatistic::Pearson).unwrap();
            case.close("Cramér's V", ours.cramers_v, theirs, 1e-10, 1e-12);
        }
        let theirs = case.expected("evidently_goodness_of_fit");
        let weights: Vec<f64> = reference.iter().map(|&count| count as f64).collect();
        match chi_square_goodness_of_fit(&current, &weights) {
            Ok(ours) => {
                case.close("fit", ours.statistic, &theirs["statistic"], 1e-10, 1e-12);
                case.close("fit p", ours.p_value, &theirs["pvalue"], 1e-8, 0.0);
            }
            Err(error) => {
                // A category that the reference does not have: an infinite statistic there, an error here.
                assert!(reference.contains(&0), "{}: {error}", case.name);
            }
        }
    });
}

#[test]
fn vectors_proportions() {
    Vectors::read("proportions").check(|case| {
        let count = |name: &str| number(case.input(name)) as u64;
        let first = Proportion::new(count("k1"), count("n1")).unwrap();
        let second = Proportion::new(count("k2"), count("n2")).unwrap();
        for (name, alternative) in ALTERNATIVES {
            let theirs = case.expected(name);
            let fisher = fisher_exact(first, second, alternative);
            case.close(&format!("Fisher {name}"), fisher, &theirs["fisher_pvalue"], 1e-8, 0.0);
            if let Ok(ours) = two_proportions(first, second) {
                case.close("z", ours.z, &theirs["z_pooled"], 1e-8, 1e-12);
                case.close("z p", ours.p_value(alternative), &theirs["z_pvalue"], 1e-8, 0.0);
            } else {
                assert!(number(&theirs["z_pooled"]).is_nan(), "{}", case.name);
            }
        }
        for (name, proportion) in [("p1", first), ("p2", second)] {
            let theirs = case.expected(name);
            case.close("share", proportion.share(), &theirs["estimate"], 1e-12, 0.0);
            for (interval, key) in [
                (proportion.wilson(0.95), "wilson95"),
                (proportion.clopper_pearson(0.95), "clopper_pearson95"),
            ] {
                let interval = interval.unwrap();
                case.close(key, interval.lower, &theirs[key][0], 1e-8, 1e-15);
                case.close(key, interval.upper, &theirs[key][1], 1e-8, 1e-15);
            }
        }
        if let Ok(ratio) = odds_ratio(first, second) {
            case.close("odds ratio", ratio, case.expected("fisher_sample_odds_ratio"), 1e-12, 0.0);
        }
        let interval = newcombe_interval(first, second, 0.95).unwrap();
        let theirs = case.expected("newcombe95_diff_p1_minus_p2");
        case.close("Newcombe", interval.lower, &theirs[0], 1e-8, 1e-15);
        case.close("Newcombe", interval.upper, &theirs[1], 1e-8, 1e-15);
    });
}

#[test]
fn vectors_multiple_testing() {
    Vectors::read("multiple_testing").check(|case| {
        let p_values = numbers(case.input("pvalues"));
        for (name, correction) in [
            ("bonferroni", Correction::Bonferroni),
            ("holm", Correction::Holm),
            ("fdr_bh", Correction::BenjaminiHochberg),
            ("fdr_by", Correction::BenjaminiYekutieli),
        ] {
            let ours = correction.adjust(&p_values).unwrap();
            let theirs = case.expected(name);
            for (at, (ours, adjusted)) in
                ours.iter().zip(theirs["adjusted"].as_array().unwrap()).enumerate()
            {
                case.close(name, *ours, adjusted, 1e-12, 0.0);
                let rejected = theirs["reject_at_0.05"][at].as_bool().unwrap();
                if (ours - 0.05).abs() > 1e-12 {
                    case.same(name, *ours <= 0.05, rejected);
                }
            }
        }
    });
}

/// Evidently's own divergences: our Jensen-Shannon distance on its bins or categories, and its index by its rule for empty ones.
#[test]
fn vectors_psi_evidently() {
    Vectors::read("psi_evidently").check(|case| {
        let bins = case.value["expected"].get("evidently_bins");
        let bins = bins.filter(|bins| bins["ref_counts"].is_array());
        let [reference, current] = if let Some(expected) = bins {
            let edges = numbers(&expected["edges"]);
            let (reference, current) =
                (numbers(case.input("reference")), numbers(case.input("current")));
            let bins = ReferenceBins::with_edges(&reference, &edges[1..edges.len() - 1]).unwrap();
            let ours = [bins.counts().to_vec(), bins.counts_of(&current).unwrap()];
            assert_eq!(ours[0], counts(&expected["ref_counts"]), "{}", case.name);
            assert_eq!(ours[1], counts(&expected["cur_counts"]), "{}", case.name);
            ours
        } else {
            let values = |name: &str| -> Vec<String> {
                let list = case.input(name).as_array().unwrap();
                list.iter().map(ToString::to_string).collect()
            };
            let (reference, current) = (values("reference"), values("current"));
            let mut categories = [&reference[..], &current[..]].concat();
            categories.sort();
            categories.dedup();
            let count = |of: &[String], category: &String| {
                of.iter().filter(|value| *value == category).count() as u64
            };
            [reference, current]
                .map(|of| categories.iter().map(|c| count(&of, c)).collect::<Vec<_>>())
        };
        let weights = |counts: &[u64]| counts.iter().map(|&c| c as f64).collect::<Vec<_>>();
        let ours = jensen_shannon(&weights(&reference), &weights(&current)).unwrap().distance();
        case.close(
            "distance",
            ours,
            &case.expected("evidently_jensenshannon")["value"],
            1e-9,
            1e-9,
        );
        let ours = psi_of_counts_evidently(&reference, &current).unwrap();
        case.close("their index", ours, &case.expected("evidently_psi")["value"], 1e-9, 1e-12);
    });
}

#[test]
fn vectors_psi() {
    let is_numeric = |case: &serde_json::Value| case["expected"].get("plain_quantile10").is_some();
    Vectors::read("psi_evidently").check_where(is_numeric, |case| {
        let (reference, current) =
            (numbers(case.input("reference")), numbers(case.input("current")));
        let ours = ReferenceBins::new(&reference, 10).unwrap().psi(&current).unwrap();
        case.close("PSI", ours.value, &case.expected("plain_quantile10")["psi"], 1e-9, 1e-12);
    });
}

#[test]
fn vectors_jensen_shannon() {
    Vectors::read("jensen_shannon").check(|case| {
        let ours = jensen_shannon(&numbers(case.input("p")), &numbers(case.input("q"))).unwrap();
        let tolerance = if case.name.ends_with("tiny") { 1e-9 } else { 1e-10 };
        for (name, ours) in [
            ("distance_base_e", ours.distance()),
            ("distance_base_2", ours.distance_base_2()),
            ("divergence_base_e", ours.divergence),
            ("divergence_base_2", ours.bits()),
        ] {
            case.close(name, ours, case.expected(name), 0.0, tolerance);
        }
    });
}

#[test]
fn vectors_wasserstein() {
    Vectors::read("wasserstein").check(|case| {
        let (reference, current) =
            (numbers(case.input("reference")), numbers(case.input("current")));
        let ours = wasserstein(&reference, &current).unwrap();
        case.close("distance", ours, case.expected("wasserstein_1"), 1e-12, 1e-12);
        let ours = normed_wasserstein(&reference, &current).unwrap();
        case.close("normed", ours, case.expected("evidently_normed"), 1e-12, 1e-12);
    });
}

#[test]
fn vectors_robust_zscore() {
    Vectors::read("robust_zscore").check(|case| {
        let values = numbers(case.input("x"));
        let scale = robust_scale(&values).unwrap();
        case.close("median", scale.median, case.expected("median"), 1e-12, 0.0);
        case.close("MAD", scale.mad, case.expected("mad_raw"), 1e-12, 0.0);
        let normal = scale.mad / mlp_stats::normal_quantile(0.75);
        case.close("scaled MAD", normal, case.expected("mad_normal_consistent"), 1e-12, 0.0);
        for (value, theirs) in
            values.iter().zip(case.expected("modified_z_0.6745").as_array().unwrap())
        {
            case.close("z", scale.z_score(*value), theirs, 1e-12, 1e-12);
        }
    });
}

#[test]
fn vectors_holt_winters() {
    let vectors = Vectors::read("holt_winters_additive");
    let (params, expected) = (&vectors.file["params"], &vectors.file["expected"]);
    let param = |name: &str| number(&params[name]);
    let smoothing = Smoothing::new(param("alpha"), param("beta"), param("gamma"));
    let seasonal = numbers(&params["initial_seasonal"]);
    let (level, trend) = (param("initial_level"), param("initial_trend"));
    let mut model = HoltWinters::new(Season::Additive, smoothing, level, trend, seasonal).unwrap();
    let values = numbers(&vectors.file["input"]["y"]);
    let fitted = numbers(&expected["fitted"]);
    assert_eq!(values.len(), fitted.len());
    for (at, (value, fitted)) in values.iter().zip(&fitted).enumerate() {
        let ours = model.forecast(0);
        assert!((ours - fitted).abs() < 1e-8, "value {at}: {ours} for {fitted}");
        model.update(*value);
    }
    super::support::tell(&format!("holt_winters_additive: {} fitted values", fitted.len()));
    let forecasts = numbers(&expected["forecast_24"]);
    let (last, of) = (forecasts.len() - 1, |name: &str| number(&expected[name]));
    for (ahead, theirs) in forecasts[..last].iter().enumerate() {
        let ours = model.forecast(ahead);
        assert!((ours - theirs).abs() < 1e-8, "{ahead} ahead: {ours} for {theirs}");
    }
    // The last forecast of the file is not what the file's own last state makes it; ours is.
    let season = numbers(&expected["season_last_24"])[last];
    let by_definition = of("level_last") + (last + 1) as f64 * of("trend_last") + season;
    assert!(
        (model.forecast(last) - by_definition).abs() < 1e-8,
        "{} for {by_definition}",
        model.forecast(last)
    );
}
