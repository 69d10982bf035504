//! What one connection writes, and what must hold of it whatever bytes came. It needs no crate but those that the
//! world is built on, so that the fuzz target can include it by its path.

use gateway_core::Next;

use crate::world::World;

pub(crate) const PING: &[u8] = b"GET /ping HTTP/1.1\r\nHost: mall\r\n\r\n";
/// Statuses after which the bytes that follow mean nothing.
const FRAMING: [u16; 9] = [400, 408, 411, 413, 414, 417, 431, 501, 505];

/// All that one connection writes when `pieces` come one after another, and whether it closes.
pub(crate) fn run<'a>(world: &mut World, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
    let id = world.open();
    let (mut written, mut closed) = (Vec::new(), false);
    for piece in pieces {
        world.send(id, piece);
        let (out, next) = world.receive_all(id);
        written.extend(out);
        closed = next == Next::Close;
    }
    world.core.close(id);
    (written, closed)
}

/// Trace ids differ between any two answers.
pub(crate) fn without_trace_ids(written: &[u8]) -> String {
    let text = String::from_utf8(written.to_vec()).unwrap();
    let mut parts = text.split("\"trace_id\":\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + &part[32..])
}

/// One answer as a client sees it that does not know what it asked for.
#[derive(Debug)]
struct Seen {
    status: u16,
    closes: bool,
}

/// Takes the answers apart. A body never begins like an answer, so that one that is missing, as for a
/// HEAD, is distinguished from one that is there.
fn seen(written: &[u8]) -> Vec<Seen> {
    let mut rest = std::str::from_utf8(written).unwrap();
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {rest:?}"));
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|line| line.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head:?}"));
        let field = |name: &str| head.split("\r\n").find_map(|line| line.strip_prefix(name));
        let length = field("content-length: ").map_or(0, |length| length.parse().unwrap());
        let bare = tail.is_empty() || tail.starts_with("HTTP/1.1 ");
        rest = tail.get(if bare { 0 } else { length }..).unwrap_or_else(|| panic!("a body cut short: {tail:?}"));
        all.push(Seen { status, closes: field("connection: ") == Some("close") });
    }
    all
}

/// What must hold of every connection, however wrong its bytes are.
pub(crate) fn holds(sent: &[u8], pieces: &[&[u8]]) {
    let mut world = World::new(10);
    let id = world.open();
    let (mut written, mut closed) = (Vec::new(), false);
    for piece in pieces {
        world.send(id, piece);
        let (out, next) = world.receive_all(id);
        assert!(!closed || out.is_empty() && next == Next::Close, "it went on after its end");
        written.extend(out);
        closed = next == Next::Close;
        assert!(closed || next == Next::Read, "{:?}", next);
    }
    let all = seen(&written);
    let answers: Vec<&Seen> = all.iter().filter(|seen| seen.status >= 200).collect();
    let counted: u64 = world.core.stats().all_answers().map(|(_, count)| count).sum();
    assert_eq!(answers.len() as u64, counted, "written and counted");
    // Each answer had a head of its own, but for the one that says that there is none.
    let heads = sent.windows(4).filter(|end| end == b"\r\n\r\n").count();
    assert!(answers.len() <= heads + 1, "{} answers to {heads} heads", answers.len());
    for (seen, place) in answers.iter().zip(1..) {
        assert_eq!(seen.closes, closed && place == answers.len(), "answer {}: {:?}", place, seen);
        assert!(seen.closes || !FRAMING.contains(&seen.status), "{} left the connection open", seen.status);
        assert!(seen.status < 500 || matches!(seen.status, 501 | 505), "{}", seen.status);
    }
    assert!(!closed || !answers.is_empty(), "closed without a word");
    if closed {
        world.send(id, PING);
        assert_eq!(world.receive(id), (Vec::new(), Next::Close));
    }
    let whole = run(&mut World::new(10), [sent]);
    assert_eq!((without_trace_ids(&written), closed), (without_trace_ids(&whole.0), whole.1), "cut and whole");
}

/// An input of the fuzzer: how many cuts there are, where, and what is sent; and that in its pieces.
pub(crate) fn pieces(input: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let Some((count, rest)) = input.split_first() else { return (b"", vec![b""]) };
    let (cuts, sent) = rest.split_at(rest.len().min(usize::from(count % 8)));
    let mut ends: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) * sent.len() / 255).collect();
    ends.push(sent.len());
    ends.sort_unstable();
    let mut from = 0;
    (sent, ends.into_iter().map(|end| &sent[std::mem::replace(&mut from, end)..end]).collect())
}
