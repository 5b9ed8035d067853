//! How much of each waiting prompt goes into the next batch.

use std::time::Duration;

/// How long prompts may hold up those who wait for their next token, in each batch: this, or half of what a batch takes,
/// so that prompts get as much time as tokens where there are many of both.
const HOLD_UP: Duration = Duration::from_millis(100);
/// The fewest tokens of prompts in a batch: less is not worth a batch.
pub(super) const FEWEST: usize = 16;

/// How many tokens of prompts fit into the next batch. `decoding` is how many computations want their next
/// token now or soon, `rate` how many tokens of prompts the model evaluates in a second, `last` how long the last batch
/// took.
pub(super) fn budget(most: usize, decoding: usize, rate: f64, last: Duration) -> usize {
    if decoding == 0 {
        return most;
    }
    let within = (rate * HOLD_UP.max(last / 2).as_secs_f64()) as usize;
    within.max(FEWEST).min(most.saturating_sub(decoding))
}

/// Divides the budget among prompts of which so many tokens are left: as equally as their lengths allow, and
/// the rest to the first ones.
pub(super) fn shares(left: &[usize], budget: usize) -> Vec<usize> {
    let mut shares = vec![0; left.len()];
    let mut budget = budget;
    loop {
        let open = shares.iter().zip(left).filter(|(share, left)| share < left);
        let open = open.count();
        if open == 0 || budget == 0 {
            return shares;
        }
        let each = (budget / open).max(1);
        for (share, left) in shares.iter_mut().zip(left) {
            let more = each.min(left - *share).min(budget);
            *share += more;
            budget -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_prompts_are_not_held_up_by_long_ones() {
        assert_eq!(shares(&[1000, 10, 30], 120), [80, 10, 30]);
        assert_eq!(shares(&[1000, 1000], 101), [51, 50]);
        assert_eq!(shares(&[5, 5], 100), [5, 5]);
        assert_eq!(shares(&[3, 3, 3], 2), [1, 1, 0]);
        assert_eq!(shares(&[], 7), Vec::<usize>::new());
        assert_eq!(shares(&[0, 4], 0), [0, 0]);
    }

    #[test]
    fn prompts_take_what_decoding_leaves() {
        let short = Duration::ZERO;
        assert_eq!(budget(512, 0, 1.0, short), 512);
        assert_eq!(budget(512, 8, 1000.0, short), 100);
        assert_eq!(budget(512, 8, 1000.0, Duration::from_millis(600)), 300);
        assert_eq!(budget(512, 8, 1e9, short), 504);
        assert_eq!(budget(512, 8, 0.0, short), FEWEST);
        assert_eq!(budget(8, 8, 1e9, short), 0);
    }
}
