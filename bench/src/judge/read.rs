//! Reads a history. Names become numbers, so that millions of calls fit into memory.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::Path,
};

use serde::Deserialize;

use super::format::{Answer, FORMAT, Header, Line, State, VERSION};

const LINE_BYTES_MAX: u64 = 64 * 1024;
const LINES_MAX: u64 = 50_000_000;

/// Numbers for names.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl Names {
    fn number(&mut self, name: String) -> u32 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    pub(super) fn name(&self, number: u32) -> &str {
        self.names.get(usize::try_from(number).unwrap_or(usize::MAX)).map_or("?", String::as_str)
    }
}

/// A request to buy and its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buy {
    pub line: u64,
    pub user: u32,
    pub key: u32,
    pub quantity: u64,
    pub sent_ns: u64,
    /// `u64::MAX` if there was no answer.
    pub answered_ns: u64,
    pub answer: Answer,
    pub order: Option<u32>,
    pub body: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cancel {
    pub order: u32,
    pub sent_ns: u64,
    pub answered_ns: u64,
    pub done: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub line: u64,
    pub user: u32,
    pub order: u32,
    pub sent_ns: u64,
    pub answered_ns: u64,
    pub found: bool,
    pub owner: Option<u32>,
    pub quantity: Option<u64>,
    pub state: Option<State>,
}

/// A whole history, in the order of its lines.
pub(super) struct History {
    pub header: Header,
    pub users: Names,
    pub orders: Names,
    keys: Names,
    bodies: Names,
    pub buys: Vec<Buy>,
    pub cancels: Vec<Cancel>,
    pub reads: Vec<Read>,
}

/// Reads the file.
///
/// # Errors
/// One line that names the file, the line and the fault.
pub(super) fn read(path: &Path) -> Result<History, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(BufReader::new(file)).map_err(|fault| format!("{}: {fault}", path.display()))
}

fn parse(mut input: impl BufRead) -> Result<History, String> {
    let mut bytes = Vec::new();
    if !next(&mut input, &mut bytes, 1)? {
        return Err("the file is empty".to_owned());
    }
    let mut history = History {
        header: header(&bytes)?,
        users: Names::default(),
        orders: Names::default(),
        keys: Names::default(),
        bodies: Names::default(),
        buys: Vec::new(),
        cancels: Vec::new(),
        reads: Vec::new(),
    };
    let (mut number, mut ended) = (1, false);
    while next(&mut input, &mut bytes, number + 1)? {
        number += 1;
        if number > LINES_MAX {
            return Err(format!("more than {LINES_MAX} lines"));
        }
        if ended {
            return Err(format!("line {number}: there is a line after the end"));
        }
        let line = serde_json::from_slice(&bytes).map_err(|error| format!("line {number}: {}", plain(&error)))?;
        if let Line::End { lines } = line {
            ended = true;
            if lines != number {
                return Err(format!("line {number}: the end says {lines} lines, the file has {number}"));
            }
        } else {
            history.add(number, line)?;
        }
    }
    if history.header.has_end && !ended {
        return Err(format!("the file is cut off after line {number}: its last line is not an end"));
    }
    Ok(history)
}

/// One line without its end; `false` at the end of the file.
fn next(input: &mut impl BufRead, bytes: &mut Vec<u8>, number: u64) -> Result<bool, String> {
    bytes.clear();
    let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', bytes);
    read.map_err(|error| format!("line {number}: {error}"))?;
    match bytes.pop() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) if bytes.len() as u64 + 1 >= LINE_BYTES_MAX => {
            Err(format!("line {number}: longer than {LINE_BYTES_MAX} bytes"))
        }
        Some(_) => Err(format!("line {number}: torn, it does not end with a newline")),
    }
}

fn header(bytes: &[u8]) -> Result<Header, String> {
    #[derive(Deserialize)]
    struct Version {
        format: String,
        version: u64,
    }
    let not_one = |_| format!("line 1: not a header of the format {FORMAT}, version {VERSION}");
    let Version { format, version } = serde_json::from_slice(bytes).map_err(not_one)?;
    if format != FORMAT || version != u64::from(VERSION) {
        return Err(format!("line 1: {format} version {version}; this program reads {FORMAT} version {VERSION}"));
    }
    serde_json::from_slice(bytes).map_err(|error| format!("line 1: {}", plain(&error)))
}

/// The fault without the position in the line, which is always line 1 to the parser.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ").map_or(text.clone(), |(fault, _)| fault.to_owned())
}

impl History {
    fn add(&mut self, line: u64, read: Line) -> Result<(), String> {
        let fault = |what: &str| Err(format!("line {line}: {what}"));
        match read {
            Line::Buy { user, key, quantity, sent_ns, answered_ns, answer, order, body } => {
                if answered_ns.is_some_and(|answered_ns| answered_ns < sent_ns) {
                    return fault("answered before it was sent; use a monotonic clock");
                }
                if (answer == Answer::None) != answered_ns.is_none() {
                    return fault("a call without an answer has no answered_ns, and any other has one");
                }
                if (answer == Answer::Yes) != order.is_some() {
                    return fault("a yes has an order, and no other answer has one");
                }
                if quantity == 0 {
                    return fault("quantity is 0");
                }
                self.buys.push(Buy {
                    line,
                    user: self.users.number(user),
                    key: self.keys.number(key),
                    quantity,
                    sent_ns,
                    answered_ns: answered_ns.unwrap_or(u64::MAX),
                    answer,
                    order: order.map(|order| self.orders.number(order)),
                    body: body.map(|body| self.bodies.number(body)),
                });
            }
            Line::Cancel { user, order, sent_ns, answered_ns, done } => {
                if answered_ns.is_some_and(|answered_ns| answered_ns < sent_ns) || (done && answered_ns.is_none()) {
                    return fault("answered before it was sent, or done without an answer");
                }
                self.users.number(user);
                let (order, answered_ns) = (self.orders.number(order), answered_ns.unwrap_or(u64::MAX));
                self.cancels.push(Cancel { order, sent_ns, answered_ns, done });
            }
            Line::Read { user, order, sent_ns, answered_ns, found, owner, quantity, state } => {
                if answered_ns < sent_ns {
                    return fault("answered before it was sent; use a monotonic clock");
                }
                let (user, order) = (self.users.number(user), self.orders.number(order));
                let owner = owner.map(|owner| self.users.number(owner));
                self.reads.push(Read { line, user, order, sent_ns, answered_ns, found, owner, quantity, state });
            }
            Line::End { .. } => {}
        }
        Ok(())
    }
}
