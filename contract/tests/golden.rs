//! Every byte of every record, as it is on disks and brokers. A change here is a new version.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use contract::{
    Activity, ActivityId, Cents, OperationId, OrderId, ProductId, SessionId, SkuId, UserId,
    activity::{self, Admission, AnswerAfter, Door, EntryRule, Rules},
    codec::DecodeError,
    record::{
        Action, CutScope, DeadLetter, ENTRIES_MAX, Entries, Latency, LedgerCommand, OrderEvent, OrderEvents,
        OrderStatus, PaymentDeadline, ProcessReport, ProcessRole, ProductChanged, Record, Refusals, TokenCut,
        WorkerClaim,
    },
    stock::{Entry, Event, FailedReason, RequestKey, Reservation, Term, TermCounts},
    trace::TraceContext,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// The value has exactly these bytes, they read back as the value, and no shorter, longer or
/// re-labelled form does.
fn check<R: Record + PartialEq + std::fmt::Debug>(value: &R, golden: &str) {
    let bytes = value.to_bytes();
    assert_eq!(hex(&bytes), golden.replace([' ', '\n'], ""), "{value:?}");
    assert_eq!(R::decode(&bytes).as_ref(), Ok(value));
    assert_eq!(R::decode(&[]), Err(DecodeError::Truncated));
    let mut other = bytes.clone();
    other[0] = 3;
    assert_eq!(R::decode(&other), Err(DecodeError::UnknownVersion(3)));
    other[0] = bytes[0];
    other[1] = 255;
    assert_eq!(R::decode(&other), Err(DecodeError::UnknownKind(255)));
}

/// For records of fixed fields: any cut and any addition is refused.
fn check_closed<R: Record + PartialEq + std::fmt::Debug>(value: &R, golden: &str) {
    check(value, golden);
    let bytes = value.to_bytes();
    for len in 0..bytes.len() {
        assert_eq!(R::decode(&bytes[..len]), Err(DecodeError::Truncated), "cut at {len}");
    }
    assert_eq!(R::decode(&[bytes, vec![0]].concat()), Err(DecodeError::Trailing));
}

fn entry(event: Event) -> Entry {
    Entry { activity: ActivityId::from_i64(0x0102).unwrap(), term: Term(6), epoch: 3, seq: 4, at_ms: 5, event }
}

/// The entries as records.
fn grouped(entries: &[Entry]) -> Vec<Entries> {
    Entries::group(entries).collect()
}

/// A record of one entry.
fn alone(event: Event) -> Entries {
    grouped(&[entry(event)]).remove(0)
}

/// Activity, bucket, term, no trace context.
const LEDGER: &str = "0000000000000102 00000000 0000000000000006 00";
/// Epoch, `seq`, instant.
const PLACE: &str = "0000000000000003 0000000000000004 0000000000000005";

#[test]
fn entries() {
    let order = OrderId::from_i64(0x0a0b).unwrap();
    let rules = Rules { per_user_limit: 1, starts_at_ms: 2, ends_at_ms: 3 };
    check_closed(
        &alone(Event::Opened { stock: 1000, rules }),
        &format!("0201 {LEDGER} {PLACE} 00000000000003e8 00000001 0000000000000002 0000000000000003"),
    );
    let user = UserId::from_i64(0x0c).unwrap();
    let unnamed = Reservation { order, user, request: None, quantity: 2 };
    check_closed(
        &alone(Event::Held(unnamed)),
        &format!("0202 {LEDGER} {PLACE} 0000000000000a0b 000000000000000c 00000002 00"),
    );
    let named = Reservation { request: Some(RequestKey([0xee; 16])), ..unnamed };
    let key = "ee".repeat(16);
    check_closed(
        &alone(Event::Held(named)),
        &format!("0202 {LEDGER} {PLACE} 0000000000000a0b 000000000000000c 00000002 01 {key}"),
    );
    check_closed(
        &alone(Event::Settled { order, quantity: 2 }),
        &format!("0203 {LEDGER} {PLACE} 0000000000000a0b 00000002"),
    );
    check_closed(
        &alone(Event::Released { order, quantity: 2 }),
        &format!("0204 {LEDGER} {PLACE} 0000000000000a0b 00000002"),
    );
    let operation = OperationId::from_i64(7).unwrap();
    check_closed(
        &alone(Event::Restocked { operation, delta: -2 }),
        &format!("0205 {LEDGER} {PLACE} 0000000000000007 fffffffffffffffe"),
    );
    check_closed(&alone(Event::Ended { ends_at_ms: 9 }), &format!("0207 {LEDGER} {PLACE} 0000000000000009"));
}

/// Records of version 2 have had a place for a trace context from the start, so older readers skip it.
#[test]
fn entries_in_a_trace() {
    let context = TraceContext::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7, true);
    let order = OrderId::from_i64(0x0a0b).unwrap();
    let settled = entry(Event::Settled { order, quantity: 2 });
    let traced = |entries: &[Entry]| grouped(entries).remove(0).traced(context);
    let head = "0000000000000102 00000000 0000000000000006 01 4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7 01";
    check_closed(&traced(&[settled]), &format!("0203 {head} {PLACE} 0000000000000a0b 00000002"));
    let second = Entry { seq: 5, ..settled };
    check_closed(
        &traced(&[settled, second]),
        &format!(
            "0206 {head} 00000002 03 {PLACE} 0000000000000a0b 00000002 \
             03 0000000000000003 0000000000000005 0000000000000005 0000000000000a0b 00000002"
        ),
    );
    let head = head.replace("00f067aa0ba902b7 01", "0000000000000000 01");
    let without_span = Entries::decode(&unhex(&format!("0203 {head} {PLACE} 0000000000000a0b 00000002")));
    assert_eq!(without_span, Ok(alone(settled.event)), "an invalid context is none");
}

#[test]
fn entries_together() {
    let order = OrderId::from_i64(0x0a0b).unwrap();
    let first = entry(Event::Released { order, quantity: 2 });
    let second = Entry { epoch: 4, seq: 5, ..entry(Event::Settled { order, quantity: 1 }) };
    check_closed(
        &grouped(&[first, second]).remove(0),
        "0206 0000000000000102 00000000 0000000000000006 00 00000002 \
         04 0000000000000003 0000000000000004 0000000000000005 0000000000000a0b 00000002 \
         03 0000000000000004 0000000000000005 0000000000000005 0000000000000a0b 00000001",
    );
    for count in ["00000000", "00000001", "00000081", "ffffffff"] {
        for head in ["0106 0000000000000102", &format!("0206 {LEDGER}")] {
            let bytes = unhex(&format!("{head} {count}"));
            assert_eq!(Entries::decode(&bytes), Err(DecodeError::OutOfRange), "{count} entries");
        }
    }
    // Neighbours of one activity, and not too many of them.
    let other = Entry { activity: ActivityId::from_i64(9).unwrap(), ..first };
    let later = Entry { term: Term(7), ..first };
    let many = [vec![first; ENTRIES_MAX + 1], vec![other], vec![first], vec![later]].concat();
    let sizes: Vec<usize> = grouped(&many).into_iter().map(|record| record.into_vec().len()).collect();
    assert_eq!(sizes, [ENTRIES_MAX, 1, 1, 1, 1]);
}

#[test]
fn marks_of_terms() {
    check_closed(&alone(Event::TermStarted { nonce: 9 }), &format!("0208 {LEDGER} {PLACE} 0000000000000009"));
    let counts = TermCounts { total: 1, held: 2, sold: 3, released: 4 };
    check_closed(
        &alone(Event::TermOpened(counts)),
        &format!("0209 {LEDGER} {PLACE} 0000000000000001 0000000000000002 0000000000000003 0000000000000004"),
    );
    let (order, user) = (OrderId::from_i64(0x0a0b).unwrap(), UserId::from_i64(0x0c).unwrap());
    let reservation = Reservation { order, user, request: Some(RequestKey([0xee; 16])), quantity: 2 };
    let key = "ee".repeat(16);
    for (reason, byte) in [(FailedReason::SoldOut, "01"), (FailedReason::AnotherOrder, "02")] {
        check_closed(
            &alone(Event::PromiseFailed { reservation, reason }),
            &format!("020a {LEDGER} {PLACE} {byte} 0000000000000a0b 000000000000000c 00000002 01 {key}"),
        );
    }
    let bytes = unhex(&format!("020a {LEDGER} {PLACE} 03 0000000000000a0b 000000000000000c 00000002 00"));
    assert_eq!(Entries::decode(&bytes), Err(DecodeError::OutOfRange), "another reason");
}

/// What version 1 wrote is read as the first term; a trace context is passed over, and no bucket but 0 is known.
#[test]
fn versions_of_the_journal() {
    let order = OrderId::from_i64(0x0a0b).unwrap();
    let first = Entry { term: Term::FIRST, ..entry(Event::Settled { order, quantity: 2 }) };
    let second = Entry { seq: 5, ..first };
    let (settled, next) = ("0000000000000a0b 00000002", "0000000000000003 0000000000000005 0000000000000005");
    let one = unhex(&format!("0103 0000000000000102 {PLACE} {settled}"));
    assert_eq!(Entries::decode(&one).map(Entries::into_vec), Ok(vec![first]));
    let two = unhex(&format!("0106 0000000000000102 00000002 03 {PLACE} {settled} 03 {next} {settled}"));
    assert_eq!(Entries::decode(&two).map(Entries::into_vec), Ok(vec![first, second]));
    let traced =
        |trace: &str| unhex(&format!("0203 0000000000000102 00000000 0000000000000006 {trace} {PLACE} {settled}"));
    let trace = format!("01 {} {} 01", "ab".repeat(16), "cd".repeat(8));
    assert_eq!(Entries::decode(&traced(&trace)).map(Entries::into_vec), Ok(vec![Entry { term: Term(6), ..first }]));
    assert_eq!(Entries::decode(&traced("02")), Err(DecodeError::OutOfRange));
    let bucket = unhex(&format!("0203 0000000000000102 00000001 0000000000000006 00 {PLACE} {settled}"));
    assert_eq!(Entries::decode(&bucket), Err(DecodeError::OutOfRange));
}

#[test]
fn commands() {
    let command = |action| LedgerCommand { activity: ActivityId::from_i64(1).unwrap(), action };
    let order = OrderId::from_i64(2).unwrap();
    check_closed(&command(Action::Settle(order)), "0110 0000000000000001 0000000000000002");
    check_closed(&command(Action::Release(order)), "0111 0000000000000001 0000000000000002");
    check_closed(&command(Action::End { ends_at_ms: 9 }), "0113 0000000000000001 0000000000000009");
    let operation = OperationId::from_i64(3).unwrap();
    check_closed(
        &command(Action::Restock { operation, delta: 4 }),
        "0112 0000000000000001 0000000000000003 0000000000000004",
    );
}

#[test]
fn the_rest() {
    let order = OrderId::from_i64(2).unwrap();
    let mut activity = Activity {
        id: ActivityId::from_i64(1).unwrap(),
        version: 2,
        title: "茶".to_owned(),
        sku: SkuId::from_i64(3).unwrap(),
        price: Cents::new(4),
        original_price: Cents::new(5),
        rules: Rules { per_user_limit: 6, starts_at_ms: 7, ends_at_ms: 8 },
        admission: Admission::default(),
    };
    let fields = "0000000000000001 0000000000000002 0000000000000003 0000000000000004 0000000000000005
         00000006 0000000000000007 0000000000000008 00000003 e88cb6";
    assert_eq!(Activity::decode(&unhex(&format!("0120 {fields}"))).as_ref(), Ok(&activity));
    for (paused, invited_only, door, golden) in [
        (false, false, Door::Open, "000000"),
        (true, false, Door::Ticket, "010001"),
        (false, true, Door::Captcha, "000102"),
    ] {
        for (answer_after, kind, options) in
            [(AnswerAfter::Script, "0122", ""), (AnswerAfter::Log, "0125", "01 02 0000000000000001")]
        {
            activity.admission = Admission { paused, invited_only, door, registered_before_ms: None, answer_after };
            check_closed(&activity, &format!("{kind} {fields} {golden} {options}"));
        }
    }
    activity.admission.registered_before_ms = Some(9);
    check_closed(&activity, &format!("0125 {fields} 000102 02 01 0000000000000009 02 0000000000000001"));
    activity.admission.answer_after = AnswerAfter::Script;
    check_closed(&activity, &format!("0125 {fields} 000102 01 01 0000000000000009"));
    let unknown = unhex(&format!("0125 {fields} 000102 01 03 0000000000000009"));
    assert_eq!(Activity::decode(&unknown), Err(DecodeError::OutOfRange), "an option of a later version");
    for (entry, byte) in [(activity::Entry::Unlisted, 0), (activity::Entry::Allowed, 1), (activity::Entry::Blocked, 2)]
    {
        let rule = EntryRule { activity: activity.id, user: UserId::from_i64(2).unwrap(), version: 3, entry };
        check_closed(&rule, &format!("0123 0000000000000001 0000000000000002 0000000000000003 {byte:02x}"));
    }
    for (status, byte) in
        [(OrderStatus::Created, 1), (OrderStatus::Paid, 2), (OrderStatus::Closed, 3), (OrderStatus::Failed, 4)]
    {
        let event = OrderEvent { order, user: UserId::from_i64(3).unwrap(), status, at_ms: 9 };
        let golden = format!("0000000000000002 0000000000000003 {byte:02x} 0000000000000009");
        check_closed(&OrderEvents::from(event), &format!("0130 {golden}"));
        let together: Vec<OrderEvents> = OrderEvents::group(&[event; ENTRIES_MAX + 2]).collect();
        assert_eq!(together[0].clone().into_vec(), [event; ENTRIES_MAX]);
        check_closed(&together[1], &format!("0132 00000002 {golden} {golden}"));
    }
    let product = ProductId::from_i64(3).unwrap();
    check_closed(&ProductChanged { product, version: 0, at_ms: 0 }, "0121 0000000000000003");
    let changed = ProductChanged { product, version: 4, at_ms: 9 };
    check_closed(&changed, "0124 0000000000000003 0000000000000004 0000000000000009");
    check_closed(&PaymentDeadline { order, due_at_ms: 9 }, "0131 0000000000000002 0000000000000009");
    let (user, session) = (UserId::from_i64(2).unwrap(), SessionId::from_i64(3).unwrap());
    for (scope, golden) in [
        (CutScope::All, "00"),
        (CutScope::AllBut(session), "01 0000000000000003"),
        (CutScope::One(session), "02 0000000000000003"),
    ] {
        check_closed(&TokenCut { user, at_ms: 9, scope }, &format!("0150 0000000000000002 0000000000000009 {golden}"));
    }
    let letter = DeadLetter {
        topic: "t".to_owned(),
        partition: 1,
        offset: 2,
        group: "g".to_owned(),
        reason: "r".to_owned(),
        value: vec![0xff],
    };
    check(&letter, "0140 00000001 0000000000000002 00000001 74 00000001 67 00000001 72 ff");
}

#[test]
fn processes() {
    let mut latency = Latency { sum_us: 0x0c, ..Latency::default() };
    (latency.counts[0], latency.counts[14]) = (0x0a, 0x0b);
    let report = ProcessReport {
        process: 1,
        role: ProcessRole::OrderCore,
        host: "h".to_owned(),
        version: "v".to_owned(),
        workers: vec![2, 3],
        started_at_ms: 4,
        at_ms: 5,
        answers: 6,
        accepted: 7,
        refusals: vec![Refusals { reason: "r".to_owned(), count: 8 }],
        latency,
    };
    let (no, numbers) = ("0000000000000000", "0000000000000004 0000000000000005 0000000000000006 0000000000000007");
    let latency = format!("000000000000000a {} 000000000000000b 000000000000000c", no.repeat(13));
    check_closed(
        &report,
        &format!(
            "0160 0000000000000001 01 00000001 68 00000001 76 00000002 00000002 00000003 {numbers} \
             00000001 00000001 72 0000000000000008 {latency}"
        ),
    );
    let claim = WorkerClaim { worker: 1023, owner: 2, from_ms: 3, until_ms: 4 };
    check_closed(&claim, "0161 000003ff 0000000000000002 0000000000000003 0000000000000004");
    for golden in ["00000400 0000000000000002 0000000000000003", "00000001 0000000000000002 0000000000000004"] {
        let bytes = unhex(&format!("0161 {golden} 0000000000000004"));
        assert_eq!(WorkerClaim::decode(&bytes), Err(DecodeError::OutOfRange));
    }
}
