//! The table of raw bytes, whole and cut.

use std::collections::BTreeSet;

use crate::{
    http_table::{Case, cases},
    wire::{run, without_trace_ids},
    world::World,
};

/// Up to this many bytes a case is cut at every byte. In a longer one the middle, which is one letter over
/// and over, is cut in steps.
const CUT_EVERYWHERE_BYTES_MAX: usize = 20_000;
const ENDS_BYTES: usize = 1_000;
const MIDDLE_STEP_BYTES: usize = 97;

/// Runs each case in the pieces that `cut` makes of it.
fn check(cut: impl Fn(&Case) -> Vec<&[u8]>) {
    let mut world = World::new(10);
    let mut faults = Vec::new();
    for case in cases() {
        let (written, closed) = run(&mut world, cut(&case));
        faults.extend(case.check(&written, closed).err());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn whole() {
    check(|case| vec![&case.sent]);
}

#[test]
fn byte_by_byte() {
    check(|case| case.sent.chunks(1).collect());
}

#[test]
fn cut_at_every_byte() {
    let mut world = World::new(10);
    for case in cases() {
        let len = case.sent.len();
        let expect = run(&mut world, [case.sent.as_slice()]);
        let expect = (without_trace_ids(&expect.0), expect.1);
        let is_cut = |at: &usize| {
            let is_near_an_end = *at < ENDS_BYTES || len - at < ENDS_BYTES;
            len <= CUT_EVERYWHERE_BYTES_MAX || is_near_an_end || at.is_multiple_of(MIDDLE_STEP_BYTES)
        };
        for at in (1..len).filter(is_cut) {
            let (first, second) = case.sent.split_at(at);
            let (written, closed) = run(&mut world, [first, second]);
            let told = (without_trace_ids(&written), closed);
            assert_eq!(told, expect, "[{}] cut at {at}", case.name);
        }
    }
}

#[test]
fn the_table_is_well_kept() {
    let cases = cases();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a name is there twice");
    for case in &cases {
        let mut words = case.rfc.split(' ');
        let (rfc, number, section) = (words.next(), words.next(), words.next());
        let is_number = |word: Option<&str>| word.is_some_and(|word| word.split('.').all(|n| n.parse::<u16>().is_ok()));
        assert!(rfc == Some("RFC") && is_number(number) && is_number(section), "[{}] {}", case.name, case.rfc);
        assert!(case.closes || case.answers() > 0 || case.sent.len() < 10_000, "[{}] says nothing", case.name);
    }
}
