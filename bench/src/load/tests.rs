use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use super::*;

/// What the server in the test does with the `n`-th request that it reads.
type Behave = fn(n: u64) -> Act;

enum Act {
    Answer(u16),
    AnswerAndClose(u16),
    /// In pieces of one byte.
    Dribble(u16),
    Hang,
    Garbage,
}

struct Server {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

fn serve(behave: Behave) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server {
        address: listener.local_addr().unwrap(),
        requests: Arc::new(AtomicU64::new(0)),
        connections: Arc::new(AtomicU64::new(0)),
    };
    let (requests, connections) = (Arc::clone(&server.requests), Arc::clone(&server.connections));
    thread::spawn(move || {
        for stream in listener.incoming() {
            connections.fetch_add(1, Ordering::SeqCst);
            let requests = Arc::clone(&requests);
            thread::spawn(move || answer_all(stream.unwrap(), &requests, behave));
        }
    });
    server
}

fn answer_all(mut stream: std::net::TcpStream, requests: &AtomicU64, behave: Behave) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if !line.is_empty() {
            continue;
        }
        let (status, close, piece) = match behave(requests.fetch_add(1, Ordering::SeqCst)) {
            Act::Answer(status) => (status, false, usize::MAX),
            Act::AnswerAndClose(status) => (status, true, usize::MAX),
            Act::Dribble(status) => (status, false, 1),
            Act::Hang => return,
            Act::Garbage => (0, true, usize::MAX),
        };
        let close_line = if close { "Connection: close\r\n" } else { "" };
        let text = format!("HTTP/1.1 {status:03} x\r\nContent-Length: 2\r\n{close_line}\r\nok");
        for piece in text.as_bytes().chunks(piece.min(text.len())) {
            stream.write_all(piece).unwrap();
        }
        if close {
            return;
        }
    }
}

/// Asks for `total` jobs, each until it is answered.
struct Count {
    total: u32,
    rate_per_s: Option<u64>,
    per_job: u32,
    begun: u32,
    again: Vec<(u32, u64)>,
    answered: Vec<u32>,
    lost: u32,
}

impl Count {
    fn new(total: u32, rate_per_s: Option<u64>) -> Self {
        let answered = vec![0; usize::try_from(total).unwrap()];
        Self { total, rate_per_s, per_job: 1, begun: 0, again: Vec::new(), answered, lost: 0 }
    }
}

impl Script for Count {
    fn next(&mut self, now_ns: u64) -> Next {
        if let Some((job, intended_ns)) = self.again.pop() {
            return Next::Ask { job, intended_ns };
        }
        if self.begun == self.total {
            return if self.answered.iter().all(|times| *times >= self.per_job) { Next::Done } else { Next::Idle };
        }
        let intended_ns = self.rate_per_s.map_or(now_ns, |rate| u64::from(self.begun) * 1_000_000_000 / rate);
        if intended_ns > now_ns {
            return Next::Wait { until_ns: intended_ns };
        }
        self.begun += 1;
        Next::Ask { job: self.begun - 1, intended_ns }
    }

    fn write(&self, job: u32, out: &mut Vec<u8>) {
        for _ in 0..self.per_job {
            out.extend_from_slice(format!("GET /{job} HTTP/1.1\r\n\r\n").as_bytes());
        }
    }

    fn answered(&mut self, job: u32, times: Times, answer: &Answer<'_>) {
        assert_eq!((answer.status, answer.body), (200, b"ok".as_slice()));
        assert!(times.intended_ns <= times.sent_ns && times.sent_ns <= times.answered_ns);
        self.answered[usize::try_from(job).unwrap()] += 1;
    }

    fn lost(&mut self, job: u32, Times { intended_ns, .. }: Times) {
        self.lost += 1;
        self.again.push((job, intended_ns));
    }

    fn tick(&mut self, _now_ns: u64) {}
}

fn check(behave: Behave, requests_per_connection: u32, expect_lost: u32, connections_min: u64) -> Ran {
    let server = serve(behave);
    let mut script = Count::new(1000, None);
    let settings = Settings { requests_per_connection, ..Settings::new(vec![server.address], 4) };
    let ran = run(settings, &mut script).unwrap();
    assert!(script.answered.iter().all(|times| *times == 1));
    assert_eq!(script.lost, expect_lost);
    assert_eq!(server.requests.load(Ordering::SeqCst), 1000 + u64::from(expect_lost));
    let opened = server.connections.load(Ordering::SeqCst);
    assert!((connections_min..=connections_min + 4).contains(&opened), "{opened} connections");
    ran
}

#[test]
fn every_request_is_counted_once() {
    assert_eq!(check(|_| Act::Answer(200), 0, 0, 4).broken, 0);
    assert_eq!(check(|n| if n % 10 == 0 { Act::Dribble(200) } else { Act::Answer(200) }, 0, 0, 4).broken, 0);
    assert_eq!(check(|_| Act::Answer(200), 10, 0, 100).broken, 0);
    assert_eq!(check(|n| if n % 100 == 99 { Act::AnswerAndClose(200) } else { Act::Answer(200) }, 0, 0, 10).broken, 0);
}

#[test]
fn a_job_of_many_requests_has_as_many_answers() {
    let server = serve(|n| if n % 50 == 0 { Act::Dribble(200) } else { Act::Answer(200) });
    let mut script = Count { per_job: 16, ..Count::new(100, None) };
    let settings = Settings { requests_per_job: 16, ..Settings::new(vec![server.address], 4) };
    assert_eq!(run(settings, &mut script).unwrap().broken, 0);
    assert!(script.answered.iter().all(|times| *times == 16), "{:?}", script.answered);
}

#[test]
fn a_lost_request_is_told() {
    assert_eq!(check(|n| if n == 500 { Act::Hang } else { Act::Answer(200) }, 0, 1, 4).broken, 1);
    let ran = check(|n| if n == 500 { Act::Garbage } else { Act::Answer(200) }, 0, 1, 4);
    assert_eq!((ran.broken, ran.not_http), (1, 1));
}

#[test]
fn a_cap_of_connections_is_counted_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Serves one connection, and closes all others.
    let ended = Arc::new(AtomicBool::new(false));
    let is_over = ended.clone();
    let server = std::thread::spawn(move || {
        let mut served = listener.accept().unwrap().0;
        listener.set_nonblocking(true).unwrap();
        let closing = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                drop(listener.accept());
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let (mut request, mut answered) = ([0; 4096], 0);
        while answered < 50 {
            let count = served.read(&mut request).unwrap();
            if count == 0 {
                break;
            }
            for _ in request[..count].windows(4).filter(|end| end == b"\r\n\r\n") {
                served.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                answered += 1;
            }
        }
        closing
    });
    let ran = run(Settings::new(vec![address], 4), &mut Count::new(50, None)).unwrap();
    ended.store(true, Ordering::Relaxed);
    server.join().unwrap().join().unwrap();
    assert!(ran.refused > 0 && ran.refused <= ran.broken, "{ran:?}");
}

#[test]
fn the_open_model_keeps_its_rate() {
    let server = serve(|_| Act::Answer(200));
    let mut script = Count::new(500, Some(2000));
    let settings = Settings::new(vec![server.address], 8);
    let ran = run(settings, &mut script).unwrap();
    assert!(ran.wall >= Duration::from_micros(249_500), "{:?}", ran.wall);
    assert!(script.answered.iter().all(|times| *times == 1));
}

#[test]
fn nobody_there_is_one_clear_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = Settings::new(vec![address], 2);
    let error = run(settings, &mut Count::new(1, None)).unwrap_err();
    assert_eq!(error, format!("{address}: can't connect: Connection refused (os error 111)"));
}
