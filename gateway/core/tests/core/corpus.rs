//! What the fuzzer found worth keeping (`gateway/core/fuzz`): no input of it ends in a panic, or in a connection on
//! which the two sides disagree about where a request ends.

use crate::wire::{holds, pieces};

/// Each input behind its length (`fuzz/corpus.py`).
const CORPUS: &[u8] = include_bytes!("../../fuzz/connection.pack");

#[test]
fn every_input_of_the_corpus() {
    let (mut rest, mut count) = (CORPUS, 0);
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (input, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        let (sent, cut) = pieces(input);
        println!("input {count} at byte {}: {}", CORPUS.len() - rest.len(), input.escape_ascii());
        holds(sent, &cut);
        (rest, count) = (tail, count + 1);
    }
    assert!(rest.is_empty() && count > 100, "{count} inputs, {} bytes left", rest.len());
}
