//! Runs a batch so that an input that breaks the model breaks it alone.

use mlp_core::{ModelError, Servable, catch_panic};

/// Runs a batch and appends one result an input, in order, to `results`; returns how often the model panicked.
///
/// If the model fails or panics on a batch, or gives another number of outputs than inputs, each half is run by itself, down to single
/// inputs: one poisonous input among 32 costs 11 calls, and 31 are answered.
pub(crate) fn run<M: ?Sized + Servable>(
    model: &M,
    batch: &[M::Input],
    out: &mut Vec<M::Output>,
    results: &mut Vec<Result<M::Output, ModelError>>,
) -> u64 {
    out.clear();
    let outcome = match catch_panic(|| model.run(batch, out)) {
        Ok(Ok(())) if out.len() != batch.len() => {
            Err(ModelError::OutputCount { expected: batch.len(), given: out.len() })
        }
        Ok(outcome) => outcome,
        Err(panicked) => Err(panicked.into()),
    };
    let Err(error) = outcome else {
        results.extend(out.drain(..).map(Ok));
        return 0;
    };
    let panics = u64::from(matches!(error, ModelError::Panicked { .. }));
    if batch.len() <= 1 {
        results.extend(batch.iter().map(|_| Err(error.clone())));
        return panics;
    }
    let (left, right) = batch.split_at(batch.len() / 2);
    panics + run(model, left, out, results) + run(model, right, out, results)
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

    proptest! {
        #[test]
        fn every_input_gets_its_own_output_or_error(
            batch in prop::collection::vec(prop_oneof![3 => 14_u32..99, 1 => Just(13)], 1..70),
            fault in prop_oneof![Just(Fault::Panic), Just(Fault::Error), Just(Fault::Short), Just(Fault::Long)],
        ) {
            let expected: Vec<_> = batch.iter().map(|&input| (input != 13).then_some(input * 2)).collect();
            prop_assert_eq!(results(fault, &batch).0, expected);
        }
    }
}
