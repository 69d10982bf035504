//! The conversation, word by word.

use super::*;
use crate::queue::BatchId;
use contract::{
    ActivityId, OrderId, UserId,
    stock::{Outcome, Reservation, Term},
};

const INFO: &[u8] = b"$11\r\nrole:master\r\n$19\r\n# Server\r\nrun_id:0a\r\n";
const REPLY_TIMEOUT: Duration = Duration::from_millis(100);

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn pipe(login: RedisLogin) -> RedisPipe {
    let script = ReserveScript { digest: "00ff".to_owned(), text: "return 'the script'" };
    RedisPipe::new(RedisConfig { login, script, window: Window::default(), reply_timeout: REPLY_TIMEOUT })
}

fn login(username: Option<&str>, password: Option<&str>, db: u32) -> RedisLogin {
    RedisLogin { username: username.map(str::to_owned), password: password.map(str::to_owned), db }
}

fn open_pipe() -> RedisPipe {
    let mut pipe = pipe(RedisLogin::default());
    pipe.handle_connected(at(0));
    pipe.handle_input(INFO, at(0)).unwrap();
    assert!(pipe.is_open());
    written(&mut pipe);
    pipe
}

/// One reservation; its order's id is the batch's number.
fn batch(serial: u64) -> Batch {
    let activity = ActivityId::from_i64(1).unwrap();
    let id = i64::try_from(serial).unwrap();
    let (order, user) = (OrderId::from_i64(id).unwrap(), UserId::from_i64(id).unwrap());
    let reservations = vec![Reservation { order, user, request: None, quantity: 1 }];
    Batch {
        id: BatchId::new(activity, serial),
        activity,
        term: Term(3),
        reservations,
        repeats_only: false,
        trace: None,
    }
}

fn written(pipe: &mut RedisPipe) -> String {
    let mut out = Vec::new();
    pipe.poll_transmit(&mut out);
    String::from_utf8(out).unwrap()
}

/// What became of a batch that the pipe gives back now.
fn reply(pipe: &mut RedisPipe) -> Option<(BatchId, Result<Outcome, Unavailable>)> {
    let (batch, reply) = pipe.poll_reply()?;
    Some((batch.id, reply.map(|reply| reply.outcomes[0])))
}

fn unavailable(serial: u64, why: Unavailable) -> Option<(BatchId, Result<Outcome, Unavailable>)> {
    Some((batch(serial).id, Err(why)))
}

fn held(serial: u64) -> Option<(BatchId, Result<Outcome, Unavailable>)> {
    let order = batch(serial).reservations[0].order;
    Some((batch(serial).id, Ok(Outcome::Held { order, repeated: false })))
}

const HELD: &[u8] = b"$15\r\n3 1 2 9 8 1 0 h\r\n";

#[test]
fn the_greeting_names_who_asks_and_learns_who_answers() {
    let mut pipe = pipe(login(Some("ada"), Some("secret"), 3));
    pipe.send(batch(1), at(0));
    assert_eq!(reply(&mut pipe), unavailable(1, Unavailable::Unknown));
    pipe.handle_connected(at(0));
    let greeting = written(&mut pipe);
    let words: Vec<&str> = greeting.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect();
    assert_eq!(words, ["AUTH", "ada", "secret", "SELECT", "3", "INFO", "replication", "INFO", "server", ""]);
    pipe.handle_input(b"+OK\r\n+OK\r\n", at(1)).unwrap();
    assert!(!pipe.is_open(), "the server has not said who it is");
    pipe.send(batch(2), at(1));
    assert_eq!(reply(&mut pipe), unavailable(2, Unavailable::Unknown));
    pipe.handle_input(INFO, at(2)).unwrap();
    pipe.send(batch(3), at(3));
    assert!(written(&mut pipe).contains("\r\n0a\r\n$1\r\n3\r\n"), "the run id and the term go with every batch");
    let mut refused = super::tests::pipe(login(None, Some("wrong"), 0));
    refused.handle_connected(at(0));
    let error = refused.handle_input(b"-WRONGPASS invalid\r\n", at(0)).unwrap_err();
    assert!(matches!(error, PipeError::GreetingRefused(_)), "{error}");
}

#[test]
fn replies_come_in_order_however_they_are_cut() {
    let bytes = [HELD, b"-FROZEN 0a\r\n", HELD, b"-LOADING Redis is loading\r\n", b"$1\r\nx\r\n"].concat();
    for size in 1..bytes.len() {
        let mut pipe = open_pipe();
        for serial in 1..=5 {
            pipe.send(batch(serial), at(0));
        }
        for piece in bytes.chunks(size) {
            pipe.handle_input(piece, at(1)).unwrap();
        }
        assert_eq!(reply(&mut pipe), held(1));
        assert_eq!(reply(&mut pipe), unavailable(2, Unavailable::Frozen));
        assert_eq!(reply(&mut pipe), held(3));
        assert_eq!(reply(&mut pipe), unavailable(4, Unavailable::Unknown));
        assert_eq!(reply(&mut pipe), unavailable(5, Unavailable::Unknown));
        assert_eq!(reply(&mut pipe), None);
    }
}

#[test]
fn a_late_reply_reaches_nobody_else() {
    let mut pipe = open_pipe();
    pipe.send(batch(1), at(0));
    pipe.handle_timeout(at(99)).unwrap();
    assert_eq!(reply(&mut pipe), None);
    pipe.handle_timeout(at(100)).unwrap();
    assert_eq!(reply(&mut pipe), unavailable(1, Unavailable::Unknown));
    written(&mut pipe);
    pipe.send(batch(2), at(110));
    assert_eq!(reply(&mut pipe), unavailable(2, Unavailable::Unknown), "the slot of the first is open");
    assert_eq!(written(&mut pipe), "");
    pipe.handle_input(HELD, at(120)).unwrap();
    assert_eq!(reply(&mut pipe), None);
    pipe.send(batch(3), at(130));
    pipe.handle_input(HELD, at(140)).unwrap();
    assert_eq!(reply(&mut pipe), held(3));
}

#[test]
fn a_script_that_is_not_known_is_sent() {
    let mut pipe = open_pipe();
    pipe.send(batch(1), at(0));
    assert!(written(&mut pipe).contains("EVALSHA"));
    pipe.handle_input(b"-NOSCRIPT No matching script.\r\n", at(1)).unwrap();
    assert_eq!(reply(&mut pipe), None);
    assert!(written(&mut pipe).contains("\r\nEVAL\r\n"));
    pipe.handle_input(HELD, at(2)).unwrap();
    assert_eq!(reply(&mut pipe), held(1));
}

/// It may answer every batch without a write, and then no answer shows it.
#[test]
fn a_server_that_became_a_replica_is_left() {
    let replica: &[u8] = b"$27\r\nrole:slave\r\nmaster_host:h\r\n\r\n";
    let mut pipe = pipe(RedisLogin::default());
    pipe.handle_connected(at(0));
    assert_eq!(pipe.handle_input(replica, at(0)), Err(PipeError::ReadOnly), "at the greeting");

    let mut pipe = open_pipe();
    pipe.handle_timeout(at(999)).unwrap();
    assert_eq!(written(&mut pipe), "");
    pipe.send(batch(1), at(999));
    written(&mut pipe);
    pipe.handle_timeout(at(1_000)).unwrap();
    assert!(written(&mut pipe).contains("\r\nreplication\r\n"), "it is asked every second");
    pipe.handle_input(b"-FROZEN 0a\r\n", at(1_001)).unwrap();
    assert_eq!(reply(&mut pipe), unavailable(1, Unavailable::Frozen));
    assert_eq!(pipe.handle_input(replica, at(1_001)), Err(PipeError::ReadOnly));

    let mut pipe = open_pipe();
    pipe.handle_timeout(at(1_000)).unwrap();
    pipe.handle_input(b"$11\r\nrole:master\r\n", at(1_001)).unwrap();
    assert!(pipe.is_open());
}

#[test]
fn what_cannot_go_on_ends_the_connection() {
    let cases: [(&[u8], PipeError); 5] = [
        (b"-READONLY You can't write against a read only replica.\r\n", PipeError::ReadOnly),
        (b"-MASTERDOWN Link with MASTER is down.\r\n", PipeError::ReadOnly),
        (b"-ERR Error running script: -READONLY You can't write.\r\n", PipeError::ReadOnly),
        (b"HTTP/1.1 400 Bad Request\r\n", PipeError::Malformed),
        (b"+OK\r\n+OK\r\n", PipeError::Unasked),
    ];
    for (bytes, why) in cases {
        let mut pipe = open_pipe();
        pipe.send(batch(1), at(0));
        assert_eq!(pipe.handle_input(bytes, at(1)), Err(why));
        pipe.handle_lost();
        assert_eq!(reply(&mut pipe), unavailable(1, Unavailable::Unknown));
        assert!(!pipe.is_open() && reply(&mut pipe).is_none());
    }
    let mut pipe = open_pipe();
    pipe.send(batch(1), at(0));
    pipe.handle_timeout(at(100)).unwrap();
    assert_eq!(pipe.handle_timeout(SILENCE_MAX), Err(PipeError::Silent));
    pipe.handle_lost();
    assert_eq!(reply(&mut pipe), unavailable(1, Unavailable::Unknown));
    assert_eq!(reply(&mut pipe), None, "it is told once");
    pipe.handle_connected(SILENCE_MAX);
    pipe.handle_input(INFO, SILENCE_MAX).unwrap();
    assert!(pipe.is_open(), "the next connection starts afresh");
}

/// What a driver of the conversation may meet.
#[derive(Debug, Clone)]
enum Happens {
    Sent,
    Read(Vec<u8>),
    Passed(u64),
    Lost,
}

fn happens() -> impl proptest::strategy::Strategy<Value = Happens> {
    use proptest::prelude::*;
    let replies = prop_oneof![
        Just(HELD.to_vec()),
        Just(b"-FROZEN 0a\r\n".to_vec()),
        Just(b"-NOSCRIPT No matching script.\r\n".to_vec()),
        Just(b"-ERR no\r\n".to_vec()),
        Just(b"*2\r\n:1\r\n$1\r\nx\r\n".to_vec()),
        Just(b"$11\r\nrole:master\r\n".to_vec()),
        Just(INFO[..20].to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    prop_oneof![
        4 => Just(Happens::Sent),
        6 => replies.prop_map(Happens::Read),
        2 => (0_u64..400).prop_map(Happens::Passed),
        1 => Just(Happens::Lost),
    ]
}

proptest::proptest! {
    /// Whatever the server sends and however long it takes, each batch gets one reply.
    #[test]
    fn every_batch_is_answered_once(steps in proptest::collection::vec(happens(), 0..80)) {
        let (mut pipe, mut now, mut sent) = (open_pipe(), at(0), 0);
        let mut answered = Vec::new();
        for step in steps {
            let result = match step {
                Happens::Sent => {
                    sent += 1;
                    pipe.send(batch(sent), now);
                    Ok(())
                }
                Happens::Read(bytes) => pipe.handle_input(&bytes, now),
                Happens::Passed(ms) => {
                    now += at(ms);
                    pipe.handle_timeout(now)
                }
                Happens::Lost => Err(PipeError::Silent),
            };
            if result.is_err() {
                pipe.handle_lost();
                pipe.handle_connected(now);
                let _greeted = pipe.handle_input(INFO, now);
            }
            written(&mut pipe);
            while pipe.poll_event().is_some() {}
            answered.extend(std::iter::from_fn(|| pipe.poll_reply()).map(|(batch, _)| batch.id));
        }
        pipe.handle_lost();
        answered.extend(std::iter::from_fn(|| pipe.poll_reply()).map(|(batch, _)| batch.id));
        answered.sort_by_key(|id| format!("{id:?}"));
        let mut expected: Vec<BatchId> = (1..=sent).map(|serial| batch(serial).id).collect();
        expected.sort_by_key(|id| format!("{id:?}"));
        proptest::prop_assert_eq!(answered, expected);
    }
}
