//! Runs a batch so that an input that breaks the model breaks it alone.

use mlp_core::{ModelError, Servable, catch_panic};

/// How many failures more than lead to a single input are borne without one success.
const PATIENCE: u32 = 3;

/// Runs a batch and appends one result an input, in order, to `results`; returns how often the model panicked. `again` is called before each call
/// but the first.
///
/// If the model fails or panics on a batch, or gives another number of outputs than inputs, each half is run by itself, down to single
/// inputs: one poisonous input among 32 costs 11 calls, and 31 are answered. A model that fails on everything is not asked about each of n inputs: if
/// there was no success after a few single inputs, about log₂ n others are tried, spread over the rest up to the last one, and if they fail
/// too, all are given the error (4 + 2 log₂ n calls: 16 for 64 inputs). There are never more than 2 n + log₂ n calls.
pub(crate) fn run<M: ?Sized + Servable>(
    model: &M,
    batch: &[M::Input],
    out: &mut Vec<M::Output>,
    results: &mut Vec<Result<M::Output, ModelError>>,
    again: impl FnMut(),
) -> u64 {
    let depth = batch.len().next_power_of_two().trailing_zeros();
    let (before, patience) = (results.len(), Some(1 + depth + PATIENCE));
    let mut search = Search {
        model,
        out,
        results,
        again,
        all: batch,
        before,
        is_first: true,
        patience,
        hopeless: None,
        panics: 0,
    };
    search.run(batch);
    search.panics
}

/// Runs a single input, where there is nothing to halve.
#[inline(always)] // As those that call it.
pub(crate) fn run_one<M: ?Sized + Servable>(
    model: &M,
    input: &M::Input,
    out: &mut Vec<M::Output>,
) -> Result<M::Output, ModelError> {
    call(model, std::slice::from_ref(input), out)?;
    out.pop().ok_or(ModelError::OutputCount { expected: 1, given: 0 })
}

/// Runs a batch; its outputs are in `out`.
fn call<M: ?Sized + Servable>(
    model: &M,
    batch: &[M::Input],
    out: &mut Vec<M::Output>,
) -> Result<(), ModelError> {
    // Outputs of an attempt that failed are dropped here, which may panic too.
    let attempt = || {
        out.clear();
        model.run(batch, out)
    };
    match catch_panic(attempt) {
        Ok(Ok(())) if out.len() != batch.len() => {
            Err(ModelError::OutputCount { expected: batch.len(), given: out.len() })
        }
        Ok(outcome) => outcome,
        Err(panicked) => Err(panicked.into()),
    }
}

struct Search<'a, M: ?Sized + Servable, F> {
    model: &'a M,
    out: &'a mut Vec<M::Output>,
    results: &'a mut Vec<Result<M::Output, ModelError>>,
    again: F,
    all: &'a [M::Input],
    /// How many results there were before the first of `all`.
    before: usize,
    is_first: bool,
    /// How many more failures are borne without a success; none once there was one.
    patience: Option<u32>,
    /// What all that are left are given.
    hopeless: Option<ModelError>,
    panics: u64,
}

impl<M: ?Sized + Servable, F: FnMut()> Search<'_, M, F> {
    fn run(&mut self, batch: &[M::Input]) {
        let error = match self.hopeless.clone().map_or_else(|| self.call(batch), Err) {
            Ok(()) => {
                self.patience = None;
                return self.results.extend(self.out.drain(..).map(Ok));
            }
            Err(error) => error,
        };
        if self.hopeless.is_none() {
            let untried = self.results.len() - self.before + usize::from(batch.len() == 1);
            self.lose_patience(&error, untried);
        }
        if batch.len() <= 1 || self.hopeless.is_some() {
            return self.results.extend(batch.iter().map(|_| Err(error.clone())));
        }
        let (left, right) = batch.split_at(batch.len() / 2);
        self.run(left);
        self.run(right);
    }

    /// Runs a batch; its outputs are in `out`.
    fn call(&mut self, batch: &[M::Input]) -> Result<(), ModelError> {
        if !std::mem::take(&mut self.is_first) {
            (self.again)();
        }
        let outcome = call(self.model, batch, self.out);
        self.panics += u64::from(matches!(outcome, Err(ModelError::Panicked { .. })));
        outcome
    }

    fn lose_patience(&mut self, error: &ModelError, untried: usize) {
        let Some(left) = &mut self.patience else { return };
        *left -= 1;
        if *left > 0 {
            return;
        }
        match self.has_success_from(untried) {
            true => self.patience = None,
            false => self.hopeless = Some(error.clone()),
        }
    }

    /// Whether the model answers one of a few inputs from this one on.
    fn has_success_from(&mut self, untried: usize) -> bool {
        let rest = &self.all[untried..];
        let tries = (self.all.len().ilog2() as usize).min(rest.len());
        (1..=tries).any(|nth| {
            let end = nth * rest.len() / tries;
            self.call(&rest[end - 1..end]).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug, Clone, Copy)]
    enum Fault {
        Panic,
        Error,
        Short,
        Long,
    }

    /// Doubles its input, and does something else on 13.
    #[derive(Debug)]
    struct Picky(Fault, AtomicUsize);

    impl Servable for Picky {
        type Input = u32;
        type Output = u32;

        fn run(&self, batch: &[u32], out: &mut Vec<u32>) -> Result<(), ModelError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            out.extend(batch.iter().map(|input| input * 2));
            match (batch.contains(&13), self.0) {
                (true, Fault::Panic) => panic!("unlucky"),
                (true, Fault::Error) => return Err(ModelError::failed("unlucky")),
                (true, Fault::Short) => drop(out.pop()),
                (true, Fault::Long) => out.push(0),
                (false, _) => {}
            }
            Ok(())
        }
    }

    fn results(fault: Fault, batch: &[u32]) -> (Vec<Option<u32>>, usize) {
        let (model, mut results) = (Picky(fault, AtomicUsize::new(0)), Vec::new());
        let mut further = 0;
        run(&model, batch, &mut Vec::new(), &mut results, || further += 1);
        assert_eq!(further + 1, model.1.load(Ordering::Relaxed));
        (results.into_iter().map(Result::ok).collect(), model.1.into_inner())
    }

    #[test]
    fn one_poisonous_input_among_32_costs_11_calls_and_31_are_answered() {
        let batch: Vec<u32> = (100..117).chain([13]).chain(200..214).collect();
        let (results, calls) = results(Fault::Panic, &batch);
        assert_eq!((batch.len(), calls), (32, 11));
        assert_eq!(results.iter().filter(|result| result.is_some()).count(), 31);
        assert_eq!(results[17], None);
    }

    #[test]
    fn a_model_that_fails_on_everything_is_asked_16_times_about_64_inputs() {
        let (results, calls) = results(Fault::Error, &[13; 64]);
        assert_eq!((results, calls), (vec![None; 64], 16));
    }

    #[test]
    fn the_last_input_saves_the_good_ones_behind_many_bad_ones() {
        let batch: Vec<u32> = [13; 20].into_iter().chain(100..140).collect();
        let (results, _) = results(Fault::Panic, &batch);
        assert_eq!(results.iter().filter(|result| result.is_some()).count(), 40);
    }

    #[test]
    fn bad_inputs_at_both_ends_keep_no_long_run_of_good_ones_between_them_from_its_answer() {
        for bad in [vec![0, 1, 2, 63], (0..30).chain(50..64).collect()] {
            let batch: Vec<u32> =
                (0..64).map(|at| if bad.contains(&at) { 13 } else { 100 }).collect();
            let (results, _) = results(Fault::Error, &batch);
            let good = results.iter().filter(|result| result.is_some()).count();
            assert_eq!(good, 64 - bad.len());
        }
    }

    proptest! {
        #[test]
        fn every_input_gets_its_own_output_or_error(
            batch in prop::collection::vec(prop_oneof![3 => 14_u32..99, 1 => Just(13)], 1..70),
            fault in prop_oneof![Just(Fault::Panic), Just(Fault::Error), Just(Fault::Short), Just(Fault::Long)],
        ) {
            let expected: Vec<_> = batch.iter().map(|&input| (input != 13).then_some(input * 2)).collect();
            let (results, calls) = results(fault, &batch);
            // Only where the first ones and the last one are bad can a good one between them be given up.
            if batch.iter().take(2).chain(batch.last()).all(|input| *input == 13) {
                prop_assert!(results.iter().zip(&expected).all(|(it, right)| it.is_none() || it == right));
            } else {
                prop_assert_eq!(results, expected);
            }
            prop_assert!(calls <= 2 * batch.len() + batch.len().ilog2() as usize);
        }
    }
}
