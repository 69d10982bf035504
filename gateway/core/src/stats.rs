//! Counters since the core was made.

use crate::answer::Answer;

/// What happened so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    answers: [u64; Answer::ALL.len()],
    /// Connections that were opened.
    pub connections_opened: u64,
    /// Connections that were refused because too many were open.
    pub connections_refused: u64,
    /// Connections that were closed because the client did not read.
    pub connections_cut: u64,
    /// Batches given to the ledger.
    pub batches: u64,
    /// Reservations in them.
    pub reservations: u64,
    /// Reservations in the largest of them.
    pub batch_largest: u64,
    /// Batches the ledger gave no answer to.
    pub batches_unavailable: u64,
    /// Outcomes nobody waited for any more.
    pub outcomes_late: u64,
    /// Reservations that were answered without asking the ledger.
    pub refused_locally: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            answers: [0; Answer::ALL.len()],
            connections_opened: 0,
            connections_refused: 0,
            connections_cut: 0,
            batches: 0,
            reservations: 0,
            batch_largest: 0,
            batches_unavailable: 0,
            outcomes_late: 0,
            refused_locally: 0,
        }
    }
}

impl Stats {
    /// How often `answer` was given.
    pub fn answers(&self, answer: Answer) -> u64 {
        self.answers[answer as usize]
    }

    /// Each answer and how often it was given.
    pub fn all_answers(&self) -> impl Iterator<Item = (Answer, u64)> {
        Answer::ALL.iter().map(|answer| (*answer, self.answers(*answer)))
    }

    pub(crate) fn count(&mut self, answer: Answer) {
        self.answers[answer as usize] += 1;
    }
}
