//! Reads `cases.txt` and compares what a server wrote with it. It needs nothing but the standard
//! library, so that any crate's tests can include it by its path.

/// Bytes of a case that a fault shows.
const SHOWN_BYTES_MAX: usize = 2_000;

const TEXT: &str = include_str!("cases.txt");

/// What is sent on a fresh connection, and what must come back.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// The section that says so.
    pub(crate) rfc: String,
    pub(crate) sent: Vec<u8>,
    answers: Vec<Wanted>,
    /// The server closes after the last answer.
    pub(crate) closes: bool,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    status: u16,
    body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    /// Whatever it is.
    Any,
    /// None, although its length may be given: the answer to a HEAD.
    Head,
    /// A problem with this `code`.
    Code(String),
    /// These bytes.
    Text(String),
}

/// One answer, as it was received.
struct ReceiveOutcome<'b> {
    status: u16,
    head: String,
    body: &'b [u8],
}

/// All cases, in their order. A line that can't be read is a panic with its number.
pub(crate) fn cases() -> Vec<Case> {
    let mut words: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut cases: Vec<Case> = Vec::new();
    for (line, number) in TEXT.lines().zip(1..) {
        let bytes = |text: &str| bytes(text, &words).unwrap_or_else(|| panic!("line {number}: bytes: {text}"));
        if line.is_empty() || line.starts_with('#') {
        } else if let Some((name, text)) = line.strip_prefix("let ").and_then(|line| line.split_once(" = ")) {
            let value = bytes(text);
            words.push((name, value));
        } else if line.starts_with('[') {
            cases.push(case(line).unwrap_or_else(|| panic!("line {number}: no case: {line}")));
        } else {
            let sent = bytes(line);
            let Some(case) = cases.last_mut() else { panic!("line {number}: bytes of no case") };
            case.sent.extend(sent);
        }
    }
    cases
}

/// `[name] RFC 9112 2.2 => answer; answer; closes`
fn case(line: &str) -> Option<Case> {
    let (name, line) = line.strip_prefix('[')?.split_once("] ")?;
    let (rfc, outcome) = line.split_once(" =>")?;
    let (name, rfc) = (name.to_owned(), rfc.to_owned());
    let mut case = Case { name, rfc, sent: Vec::new(), answers: Vec::new(), closes: false };
    case.expect(outcome)?;
    Some(case)
}

/// `400 bad_request`, `200 "pong"`, `200 head`, `100`
fn wanted(text: &str) -> Option<Wanted> {
    let (status, body) = text.split_once(' ').unwrap_or((text, ""));
    let body = match body {
        "" => Body::Any,
        "head" => Body::Head,
        quoted if quoted.starts_with('"') => Body::Text(quoted.strip_prefix('"')?.strip_suffix('"')?.to_owned()),
        code => Body::Code(code.to_owned()),
    };
    Some(Wanted { status: status.parse().ok()?, body })
}

/// `\r`, `\n`, `\t`, `\\`, `\x00`, `<word>`, `<40*text>`; everything else is literal.
fn bytes(text: &str, words: &[(&str, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (_, tail) = rest.split_at(first.len_utf8());
        rest = match first {
            '\\' if tail.starts_with('x') => {
                bytes.push(u8::from_str_radix(tail.get(1..3)?, 16).ok()?);
                tail.get(3..)?
            }
            '\\' => {
                let escape = tail.chars().next()?;
                bytes.push(match escape {
                    'r' => b'\r',
                    'n' => b'\n',
                    't' => b'\t',
                    '\\' => b'\\',
                    _ => return None,
                });
                tail.get(1..)?
            }
            '<' => {
                let (word, tail) = tail.split_once('>')?;
                match word.split_once('*') {
                    Some((count, text)) => bytes.extend(self::bytes(text, words)?.repeat(count.parse().ok()?)),
                    None => bytes.extend(&words.iter().find(|(name, _)| *name == word)?.1),
                }
                tail
            }
            other => {
                bytes.extend(other.encode_utf8(&mut [0; 4]).as_bytes());
                tail
            }
        };
    }
    Some(bytes)
}

impl Case {
    /// Makes another outcome the right one: `answer; answer; closes`.
    pub(crate) fn expect(&mut self, outcome: &str) -> Option<()> {
        let mut parts = outcome.split(';').map(str::trim);
        self.closes = match parts.next_back()? {
            "closes" => true,
            "open" => false,
            _ => return None,
        };
        self.answers = parts.map(wanted).collect::<Option<_>>()?;
        Some(())
    }

    /// The statuses of the answers that come, without interim ones.
    #[allow(dead_code, reason = "the core's tests ask for more than that")]
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|wanted| wanted.status).filter(|status| *status >= 200).collect()
    }

    /// How many answers come, interim ones too: a reader of a socket stops there.
    pub(crate) fn answers(&self) -> usize {
        self.answers.len()
    }

    /// Compares all that the server wrote, and whether it closed then, with what the case wants.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn check(&self, written: &[u8], closed: bool) -> Result<(), String> {
        let mut rest = written;
        let mut last_closes = false;
        for (wanted, place) in self.answers.iter().zip(1..) {
            let (received, tail) = receive(rest, wanted).map_err(|error| self.fault(place, &error, written))?;
            rest = tail;
            last_closes = received.head.contains("\r\nconnection: close\r\n");
            wanted.check(&received).map_err(|error| self.fault(place, &error, written))?;
            if last_closes && place < self.answers.len() {
                return Err(self.fault(place, "an answer that closes is not the last", written));
            }
        }
        if !rest.is_empty() {
            return Err(self.fault(self.answers.len() + 1, "an answer too many", written));
        }
        if (closed, last_closes) != (self.closes, self.closes) {
            let told = format!("closed: {closed}, said so: {last_closes}, wanted: {}", self.closes);
            return Err(self.fault(self.answers.len(), &told, written));
        }
        Ok(())
    }

    fn fault(&self, place: usize, what: &str, written: &[u8]) -> String {
        let shown = |bytes: &[u8]| bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string();
        let (name, rfc, sent, written) = (&self.name, &self.rfc, shown(&self.sent), shown(written));
        format!("[{name}] {rfc}: answer {place}: {what}\n  sent:    {sent}\n  written: {written}")
    }
}

impl Wanted {
    fn check(&self, received: &ReceiveOutcome<'_>) -> Result<(), String> {
        if received.status != self.status {
            return Err(format!("{} instead of {}", received.status, self.status));
        }
        let body = String::from_utf8_lossy(received.body);
        let is_right = match &self.body {
            Body::Any | Body::Head => true,
            Body::Text(text) => body == *text,
            Body::Code(code) => {
                received.head.contains("\r\ncontent-type: application/problem+json\r\n")
                    && body.contains(&format!("\"status\":{},", self.status))
                    && body.contains(&format!("\"code\":\"{code}\""))
            }
        };
        if is_right { Ok(()) } else { Err(format!("{:?} instead of {:?}", body, self.body)) }
    }
}

/// Takes one answer off the front of `bytes`; its names are made lower case.
fn receive<'b>(bytes: &'b [u8], wanted: &Wanted) -> Result<(ReceiveOutcome<'b>, &'b [u8]), String> {
    let head_len = bytes.windows(4).position(|end| end == b"\r\n\r\n").ok_or("it is missing")? + 4;
    let (head, rest) = bytes.split_at(head_len);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.strip_prefix("http/1.1 ").and_then(|line| line.get(..3)).and_then(|status| status.parse().ok());
    let status: u16 = status.ok_or("no status line")?;
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(Some(0), |length| length.parse().ok()).ok_or("no length")?;
    let bare = wanted.body == Body::Head || status < 200 || status == 204 || status == 304;
    let (body, rest) = rest.split_at_checked(if bare { 0 } else { length }).ok_or("its body is cut short")?;
    Ok((ReceiveOutcome { status, head, body }, rest))
}
