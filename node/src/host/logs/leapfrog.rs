//! Whether two programs with one phone's key take its place from each other in turns. Pure.
//!
//! A phone is one program, so that is a copied key, or a person who runs two on purpose; the host can't tell which, and
//! says it at the desk. Copies with a journal each have a log each, and the logs take turns. A copy of the journal has the
//! same log; then each leaves a path open that the other has overtaken, which a phone that moves closes by itself.
//!
//! One program beside which others come and go (commands at a terminal) isn't it: those have another log each time.

use std::collections::VecDeque;
use std::time::Duration;

use farhelm_core::session::log::LogId;
use tokio::time::Instant;

/// How far back is looked.
const BACK: Duration = Duration::from_secs(5 * 60);
/// So many turns of two logs.
const TURNS: usize = 6;
/// So many paths that were left open.
const LEFT: usize = 3;

/// What one device's paths have shown of late.
#[derive(Debug, Default)]
pub(super) struct Leapfrog {
    turns: VecDeque<(Instant, LogId)>,
    left: VecDeque<Instant>,
}

impl Leapfrog {
    /// A path has begun. Says whether two take turns.
    pub(super) fn attached(&mut self, log: LogId, now: Instant) -> bool {
        if self.turns.back().is_some_and(|(_, last)| *last == log) {
            return false;
        }
        self.turns.push_back((now, log));
        while self.turns.len() > TURNS {
            self.turns.pop_front();
        }
        let logs: Vec<_> = self.turns.iter().filter(|(at, _)| now - *at <= BACK).map(|(_, log)| *log).collect();
        let take_turns = logs.len() == TURNS && logs.windows(3).all(|three| three[0] == three[2]);
        if take_turns {
            self.turns.clear();
        }
        take_turns
    }

    /// A path that was overtaken was left open to its end. Says whether that is so again and again.
    pub(super) fn left_open(&mut self, now: Instant) -> bool {
        self.left.push_back(now);
        self.left.retain(|at| now - *at <= BACK);
        let is_enough = self.left.len() >= LEFT;
        if is_enough {
            self.left.clear();
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn log(number: u8) -> LogId {
        LogId::new([number; 16])
    }

    /// Whether it is noticed when these logs attach, so many seconds apart.
    fn noticed(logs: &[u8], apart: u64) -> bool {
        let (mut leapfrog, start) = (Leapfrog::default(), Instant::now());
        let times = (0..).map(|turn| start + Duration::from_secs(turn * apart));
        logs.iter().zip(times).any(|(number, at)| leapfrog.attached(log(*number), at))
    }

    #[test]
    fn two_logs_that_take_turns_are_noticed() {
        assert!(noticed(&[1, 2, 1, 2, 1, 2], 5));
        assert!(noticed(&[3, 1, 2, 2, 1, 2, 1, 1, 2], 5), "one that comes back twice is one turn");
        assert!(!noticed(&[1, 2, 1, 2, 1], 5));
    }

    #[test]
    fn a_phone_that_comes_back_and_commands_beside_one_are_not() {
        assert!(!noticed(&[1; 50], 1));
        assert!(!noticed(&[1, 2, 1, 3, 1, 4, 1, 5, 1, 6, 1, 7], 5));
        assert!(!noticed(&[1, 2, 1, 2, 1, 2, 1, 2], 120), "not so seldom");
    }

    #[test]
    fn paths_left_open_again_and_again_are_noticed() {
        let (mut leapfrog, start) = (Leapfrog::default(), Instant::now());
        let after = |minutes: u64| start + Duration::from_secs(minutes * 60);
        assert!(!leapfrog.left_open(after(0)) && !leapfrog.left_open(after(4)));
        assert!(!leapfrog.left_open(after(8)), "the first is too long ago");
        assert!(leapfrog.left_open(after(9)) && !leapfrog.left_open(after(9)), "once");
    }
}
