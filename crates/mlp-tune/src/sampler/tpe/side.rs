//! The good trials of a group, or the others, as densities.

use mlp_core::Domain;

use super::parzen::Mixture;
use super::settings::Bandwidth;
use super::width::Width;

/// Some trials as one mixture for each rule of bandwidths that trials take turns with.
#[derive(Debug, Clone)]
pub(super) struct Side {
    turns: Vec<Mixture>,
}

impl Side {
    pub(super) fn new<'a>(
        domains: impl IntoIterator<Item = &'a Domain> + Clone,
        bandwidth: Bandwidth,
    ) -> Self {
        let mixture = |width: &Width| Mixture::new(domains.clone(), *width);
        Self { turns: Width::turns(bandwidth).iter().map(mixture).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.turns[0].len()
    }

    /// The losses of its trials, in the order of their numbers.
    pub(super) fn losses(&self) -> &[f64] {
        &self.turns[0].losses
    }

    /// Adds a trial that is not there.
    pub(super) fn insert(&mut self, number: u64, loss: f64, places: &[f64]) {
        self.turns.iter_mut().for_each(|mixture| mixture.insert(number, loss, places));
    }

    /// Takes a trial away; whether it was there.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let mut was_there = false;
        for mixture in &mut self.turns {
            was_there = mixture.remove(number);
        }
        was_there
    }

    /// The mixture for the trial of this number.
    pub(super) fn of_turn(&mut self, number: u64) -> &mut Mixture {
        let turns = self.turns.len() as u64;
        &mut self.turns[(number % turns) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::Dimension;

    #[test]
    fn trials_take_turns_with_mixtures_over_the_same_trials() {
        let domain = Dimension::float("x", 0.0, 1.0).domain;
        let mut side = Side::new([&domain], Bandwidth::Turns);
        for (number, place) in (0..).zip([0.2, 0.25, 0.9]) {
            side.insert(number, place, &[place]);
        }
        let weights = [0.25; 4];
        let mut density = |number| side.of_turn(number).log_densities(&weights, &[vec![0.5]])[0];
        let densities = [0, 1, 2].map(&mut density);
        assert_eq!(densities, [3, 4, 5].map(&mut density));
        assert!(densities[0] != densities[1] && densities[1] != densities[2]);
        assert!(side.remove(1) && !side.remove(1));
        assert!((0..3).all(|number| side.of_turn(number).len() == 2));
        assert_eq!((side.len(), side.losses()), (2, &[0.2, 0.9][..]));
    }
}
