//! Targets for data structures, each beside a naive one to which the same is done.
//!
//! What is done and what must agree is written beside each structure, whose own tests let chance
//! decide where a fuzzer does here.

use crate::base::{carry, mailbox, outbox, wheel};
use crate::testing::Choices;

/// The timing wheel beside a sorted map. The first byte says how far apart deadlines are.
pub fn wheel(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut twins = wheel::model::Twins::new(choices.flag());
    while !choices.is_empty() {
        twins.step(&mut |bound| number(&mut choices, bound));
    }
    twins.end();
}

/// Three outboxes with shared pieces beside vectors of bytes.
pub fn outbox(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut twins = outbox::model::Twins::new();
    while !choices.is_empty() {
        twins.step(&mut |bound| number(&mut choices, bound));
    }
    twins.end();
}

/// The carry of a connection beside a queue of bytes.
pub fn carry(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut twins = carry::model::Twins::default();
    while !choices.is_empty() {
        twins.step(&mut |bound| number(&mut choices, bound));
    }
}

/// The mailbox of a reactor, as one thread sees it, beside a queue. The first two bytes say how
/// many letters it holds.
pub fn mailbox(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut twins = mailbox::model::Twins::new(1 + choices.below(3000));
    while !choices.is_empty() {
        twins.step(&mut |bound| number(&mut choices, bound));
    }
}

/// A number below `bound`, of no more bytes than it takes.
fn number(choices: &mut Choices<'_>, bound: u64) -> u64 {
    if let Ok(bound @ ..=0x1_0000) = usize::try_from(bound) {
        return choices.below(bound) as u64;
    }
    let mut bytes = [0; 8];
    let given = choices.bytes(8);
    bytes[..given.len()].copy_from_slice(given);
    u64::from_le_bytes(bytes) % bound
}
