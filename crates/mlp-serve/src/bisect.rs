//! Runs a batch so that an input that breaks the model breaks it alone.

use mlp_core::{ModelError, Servable, catch_panic};

/// How many failures more than lead to a single input are borne without one success.
const PATIENCE: u32 = 3;

/// Runs a batch and appends one result an input, in order, to `results`; returns how often the model panicked.
///
/// If the model fails or panics on a batch, or gives another number of outputs than inputs, each half is run by itself, down to single
/// inputs: one poisonous input among 32 costs 11 calls, and 31 are answered. A model that fails on everything is not asked about each input: if there
/// was no success after a few single inputs, and the last input of the batch fails by itself too, all are given the error (64 inputs: 11
/// calls).
pub(crate) fn run<M: ?Sized + Servable>(
    model: &M,
    batch: &[M::Input],
    out: &mut Vec<M::Output>,
    results: &mut Vec<Result<M::Output, ModelError>>,
) -> u64 {
    let depth = batch.len().next_power_of_two().trailing_zeros();
    let last = &batch[batch.len().saturating_sub(1)..];
    let patience = Some(1 + depth + PATIENCE);
    let mut search = Search { model, out, results, last, patience, hopeless: None, panics: 0 };
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

struct Search<'a, M: ?Sized + Servable> {
    model: &'a M,
    out: &'a mut Vec<M::Output>,
    results: &'a mut Vec<Result<M::Output, ModelError>>,
    /// The last input of the batch.
    last: &'a [M::Input],
    /// How many more failures are borne without a success; none once there was one.
    patience: Option<u32>,
    /// What all that are left are given.
    hopeless: Option<ModelError>,
    panics: u64,
}

impl<M: ?Sized + Servable> Search<'_, M> {
    fn run(&mut self, batch: &[M::Input]) {
        let error = match self.hopeless.clone().map_or_else(|| self.call(batch), Err) {
            Ok(()) => {
                self.patience = None;
                return self.results.extend(self.out.drain(..).map(Ok));
            }
            Err(error) => error,
        };
        if self.hopeless.is_none() {
            self.lose_patience(&error);
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
        let outcome = call(self.model, batch, self.out);
        self.panics += u64::from(matches!(outcome, Err(ModelError::Panicked { .. })));
        outcome
    }

    fn lose_patience(&mut self, error: &ModelError) {
        let Some(left) = &mut self.patience else { return };
        *left -= 1;
        if *left == 0 {
            match self.call(self.last) {
                Ok(()) => self.patience = None,
                Err(_) => self.hopeless = Some(error.clone()),
            }
        }
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
        run(&model, batch, &mut Vec::new(), &mut results);
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
    fn a_model_that_fails_on_everything_is_asked_11_times_about_64_inputs() {
        let (results, calls) = results(Fault::Error, &[13; 64]);
        assert_eq!((results, calls), (vec![None; 64], 11));
    }

    #[test]
    fn the_last_input_saves_the_good_ones_behind_many_bad_ones() {
        let batch: Vec<u32> = [13; 20].into_iter().chain(100..140).collect();
        let (results, _) = results(Fault::Panic, &batch);
        assert_eq!(results.iter().filter(|result| result.is_some()).count(), 40);
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
            prop_assert!(calls < 2 * batch.len() + 2);
        }
    }
}
