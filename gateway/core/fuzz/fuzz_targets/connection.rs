//! One connection, whatever is sent on it and however that is cut: `cargo fuzz run connection -s none`.
#![no_main]

#[path = "../../tests/core/wire.rs"]
mod wire;
#[path = "../../tests/core/world.rs"]
#[allow(dead_code, reason = "the tests of the core ask for more")]
mod world;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (sent, pieces) = wire::pieces(input);
    wire::holds(sent, &pieces);
});
