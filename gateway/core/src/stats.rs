//! Counters since the core was made.

use crate::{answer::Answer, queue::BatchCounts};

/// How often each answer was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerCounts([u64; Answer::ALL.len()]);

impl Default for AnswerCounts {
    fn default() -> Self {
        Self([0; Answer::ALL.len()])
    }
}

impl AnswerCounts {
    pub(crate) fn add(&mut self, answer: Answer) {
        self.0[answer as usize] += 1;
    }
}

/// Connections since the core was made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ConnectionCounts {
    pub opened: u64,
    /// Too many were open, of all or of one client, or the core drained.
    pub refused: u64,
    /// The client did not read.
    pub cut: u64,
    /// Outcomes that came after their connection had stopped waiting.
    pub outcomes_late: u64,
}

/// Everything that a core counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answers.
    pub answers: AnswerCounts,
    /// ConnectionTable that were opened.
    pub connections_opened: u64,
    /// ConnectionTable that were refused because too many were open.
    pub connections_refused: u64,
    /// ConnectionTable that were closed because the client did not read.
    pub connections_cut: u64,
    /// Batches given to the ledger.
    pub batches: u64,
    /// Reservations in them.
    pub reservations: u64,
    /// Reservations in the largest of them.
    pub batch_largest: u64,
    /// Batches to which the ledger gave no usable reply.
    pub batches_unavailable: u64,
    /// Outcomes that came after their connection had stopped waiting.
    pub outcomes_late: u64,
    /// Reservations that were refused without asking the ledger.
    pub refused_locally: u64,
}

impl Stats {
    pub(crate) fn new(
        answers: &AnswerCounts,
        connections: ConnectionCounts,
        batches: BatchCounts,
        refused_locally: u64,
    ) -> Self {
        Self {
            answers: answers.clone(),
            connections_opened: connections.opened,
            connections_refused: connections.refused,
            connections_cut: connections.cut,
            batches: batches.sent,
            reservations: batches.reservations,
            batch_largest: batches.reservations_in_largest,
            batches_unavailable: batches.unavailable,
            outcomes_late: connections.outcomes_late,
            refused_locally,
        }
    }

    /// How often `answer` was given.
    pub fn answers(&self, answer: Answer) -> u64 {
        self.answers.0[answer as usize]
    }

    /// Each answer and how often it was given.
    pub fn all_answers(&self) -> impl Iterator<Item = (Answer, u64)> {
        Answer::ALL.iter().map(|answer| (*answer, self.answers(*answer)))
    }
}
