//! What the fuzzer found worth keeping (`gateway/core/fuzz`): no input of it ends in a panic, or in a connection on
//! which the two sides disagree about where a request ends.

use std::path::Path;

use crate::wire::{holds, pieces};

#[test]
fn every_input_of_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/connection");
    let files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 100, "{} inputs", files.len());
    for file in files {
        let input = std::fs::read(&file).unwrap();
        let (sent, cut) = pieces(&input);
        println!("{}", file.display());
        holds(sent, &cut);
    }
}
