//! One server: commands in, replies out.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Planted,
    data::{Data, Stream, StreamId, WrongType, stream_id},
    scripts::{Answer, Script, Server as Around},
};

/// States that a restart may go back to.
const PAST_MAX: usize = 400;
const READONLY: &str = "READONLY You can't write against a read only replica.";
const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// A reply, before it is written as RESP2.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    Number(i64),
    Bulk(String),
    Simple(&'static str),
    Array(Vec<Self>),
    /// No array.
    Nil,
    /// No string.
    Missing,
    Error(String),
}

impl From<WrongType> for Reply {
    fn from(_: WrongType) -> Self {
        Self::Error("WRONGTYPE Operation against a key holding the wrong kind of value".to_owned())
    }
}

impl Reply {
    fn write(&self, out: &mut Vec<u8>) {
        let line = match self {
            Self::Number(number) => format!(":{number}\r\n"),
            Self::Bulk(text) => format!("${}\r\n{text}\r\n", text.len()),
            Self::Simple(text) => format!("+{text}\r\n"),
            Self::Array(items) => {
                out.extend_from_slice(format!("*{}\r\n", items.len()).as_bytes());
                return items.iter().for_each(|item| item.write(out));
            }
            Self::Nil => "*-1\r\n".to_owned(),
            Self::Missing => "$-1\r\n".to_owned(),
            Self::Error(text) => format!("-{text}\r\n"),
        };
        out.extend_from_slice(line.as_bytes());
    }

    fn bulks(items: impl IntoIterator<Item = String>) -> Self {
        Self::Array(items.into_iter().map(Self::Bulk).collect())
    }

    fn bulk_or_nil(item: Option<String>) -> Self {
        item.map_or(Self::Missing, Self::Bulk)
    }
}

/// A server and its data.
#[derive(Debug, Clone)]
pub struct Server {
    run: String,
    data: Data,
    /// Earlier states, each with the instant at which it was left.
    past: VecDeque<(u64, Data)>,
    scripts: BTreeMap<String, Script>,
    loading_until_ms: u64,
    is_replica: bool,
    is_full: bool,
    planted: Planted,
}

impl Server {
    /// An empty server.
    pub fn new(run: u64, planted: Planted) -> Self {
        Self {
            run: format!("{run:040x}"),
            data: Data::default(),
            past: VecDeque::new(),
            scripts: BTreeMap::new(),
            loading_until_ms: 0,
            is_replica: false,
            is_full: false,
            planted,
        }
    }

    /// What a server that starts as another run has of this one's data of `lost_ms` ago.
    pub fn successor(&self, run: u64, now_ms: u64, lost_ms: u64) -> Self {
        let kept = self.past.iter().find(|(left_ms, _)| lost_ms > 0 && *left_ms + lost_ms >= now_ms);
        let data = kept.map_or(&self.data, |(_, data)| data).clone();
        Self { data, ..Self::new(run, self.planted) }
    }

    /// A server that starts with nothing.
    pub(super) fn emptied(&self, run: u64) -> Self {
        Self::new(run, self.planted)
    }

    pub(super) fn load_until(&mut self, at_ms: u64) {
        self.loading_until_ms = at_ms;
    }

    pub(super) fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// It follows another server from now on, whose data it has taken.
    pub(super) fn demote(&mut self, data_of: &Self) {
        self.is_replica = true;
        self.data = data_of.data.clone();
    }

    /// Deletes a key, without anybody having asked for it.
    pub(super) fn evict(&mut self, key: &str) {
        self.data.delete(key);
    }

    pub(super) fn is_master(&self) -> bool {
        !self.is_replica
    }

    pub(super) fn data(&self) -> &Data {
        &self.data
    }

    pub(super) fn run(&self) -> &str {
        &self.run
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.data.keys().cloned().collect()
    }

    /// Carries out the commands in `input`, which are whole; one reply for each.
    pub fn handle(&mut self, input: &[u8], now_ms: u64) -> Vec<Vec<u8>> {
        let mut replies = Vec::new();
        let mut queued: Option<Vec<Vec<String>>> = None;
        for words in commands(input) {
            let name = words[0].to_ascii_uppercase();
            let reply = match (&mut queued, name.as_str()) {
                (None, "MULTI") => {
                    queued = Some(Vec::new());
                    Reply::Simple("OK")
                }
                (Some(commands), "EXEC") => {
                    let commands = std::mem::take(commands);
                    queued = None;
                    Reply::Array(commands.iter().map(|words| self.execute(words, now_ms)).collect())
                }
                (Some(commands), _) => {
                    commands.push(words);
                    Reply::Simple("QUEUED")
                }
                (None, _) => self.execute(&words, now_ms),
            };
            let mut bytes = Vec::new();
            reply.write(&mut bytes);
            replies.push(bytes);
        }
        replies
    }

    fn execute(&mut self, words: &[String], now_ms: u64) -> Reply {
        let name = words[0].to_ascii_uppercase();
        if now_ms < self.loading_until_ms && name != "INFO" {
            return Reply::Error("LOADING Redis is loading the dataset in memory".to_owned());
        }
        let before = self.data.clone();
        let reply = self.refused(&name).map_or_else(
            || self.carry_out(&name, &words[1..], now_ms).unwrap_or_else(Reply::from),
            |why| Reply::Error(why.to_owned()),
        );
        if before != self.data {
            if self.past.len() >= PAST_MAX {
                self.past.pop_front();
            }
            self.past.push_back((now_ms, before));
        }
        reply
    }

    fn refused(&self, name: &str) -> Option<&'static str> {
        let grows = matches!(name, "HSET" | "ZADD" | "SET" | "SADD");
        let writes =
            grows || matches!(name, "HDEL" | "DEL" | "UNLINK" | "EXPIRE" | "ZREM" | "ZREMRANGEBYSCORE" | "FLUSHALL");
        if self.is_replica && writes {
            Some(READONLY)
        } else if self.is_full && grows {
            Some(OOM)
        } else {
            None
        }
    }

    fn carry_out(&mut self, name: &str, args: &[String], now_ms: u64) -> Result<Reply, WrongType> {
        let data = &mut self.data;
        let count = |count: usize| Reply::Number(i64::try_from(count).unwrap_or(i64::MAX));
        let strs = |from: usize| args[from..].iter().map(String::as_str).collect::<Vec<_>>();
        Ok(match name {
            "INFO" => Reply::Bulk(self.info(&args[0])),
            "TIME" => Reply::bulks([(now_ms / 1000).to_string(), (now_ms % 1000 * 1000).to_string()]),
            "EVAL" | "EVALSHA" | "SCRIPT" => return Ok(self.script(name, args, now_ms)),
            "EXISTS" => Reply::Number(data.exists(&args[0]).into()),
            "DEL" | "UNLINK" => count(args.iter().filter(|key| data.delete(key)).count()),
            "FLUSHALL" => {
                data.clear();
                Reply::Simple("OK")
            }
            "SET" => {
                let kept_ms = args.get(3).and_then(|ms| ms.parse().ok()).unwrap_or(u64::MAX / 2);
                data.put_text(&args[0], &args[1], now_ms + kept_ms);
                Reply::Simple("OK")
            }
            "EXPIRE" => Reply::Number(data.exists(&args[0]).into()),
            "HGETALL" => {
                let hash = data.hash(&args[0])?.cloned().unwrap_or_default();
                Reply::bulks(hash.into_iter().flat_map(|(field, value)| [field, value]))
            }
            "HMGET" => {
                let found = data.fields(&args[0], &strs(1))?;
                Reply::Array(found.into_iter().map(Reply::bulk_or_nil).collect())
            }
            "HEXISTS" => Reply::Number(data.has_field(&args[0], &args[1])?.into()),
            "HSET" => {
                let hash = data.hash_mut(&args[0])?;
                let pairs = args[1..].chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
                count(pairs.filter(|(field, value)| hash.insert(field.clone(), value.clone()).is_none()).count())
            }
            "HDEL" => {
                let mut removed = 0;
                for field in &args[1..] {
                    removed += usize::from(data.remove_field(&args[0], field)?);
                }
                count(removed)
            }
            "SISMEMBER" => Reply::Number(data.set(&args[0])?.is_some_and(|set| set.contains(&args[1])).into()),
            "SMEMBERS" => Reply::bulks(data.set(&args[0])?.cloned().unwrap_or_default()),
            "ZADD" | "ZREM" | "ZREMRANGEBYSCORE" | "ZRANGEBYSCORE" => return sorted(data, name, args),
            "XLEN" | "XRANGE" | "XREAD" => return streams(data, name, args),
            _ => Reply::Error(format!("ERR unknown command '{name}'")),
        })
    }

    fn info(&self, section: &str) -> String {
        match section {
            "server" => format!("# Server\r\nrun_id:{}\r\n", self.run),
            "replication" => format!("# Replication\r\nrole:{}\r\n", if self.is_replica { "slave" } else { "master" }),
            _ => "# Memory\r\nmaxmemory_policy:noeviction\r\n".to_owned(),
        }
    }

    fn script(&mut self, name: &str, args: &[String], now_ms: u64) -> Reply {
        let text = if name == "SCRIPT" { &args[1] } else { &args[0] };
        if name != "EVALSHA" {
            let digest = ::redis::Script::new(text).get_hash().to_owned();
            let Some(script) = Script::of_text(text) else { return Reply::Error("ERR unknown script".to_owned()) };
            self.scripts.insert(digest.clone(), script);
            if name == "SCRIPT" {
                return Reply::Bulk(digest);
            }
        }
        let known = if name == "EVALSHA" { self.scripts.get(text).copied() } else { Script::of_text(text) };
        let Some(script) = known else { return Reply::Error("NOSCRIPT No matching script.".to_owned()) };
        let keys = args[1].parse::<usize>().unwrap_or_default();
        let (keys, args) = args[2..].split_at(keys);
        let refuses = if self.is_replica { Some(READONLY) } else { self.is_full.then_some(OOM) };
        match script.run(&mut self.data, Around { run: &self.run, now_ms, refuses, planted: self.planted }, keys, args)
        {
            Answer::Number(number) => Reply::Number(number),
            Answer::Text(text) => Reply::Bulk(text),
            Answer::Error(text) => Reply::Error(text),
        }
    }
}

fn sorted(data: &mut Data, name: &str, args: &[String]) -> Result<Reply, WrongType> {
    let score = |text: &String| match text.as_str() {
        "-inf" => 0,
        "+inf" => u64::MAX,
        text => text.parse().unwrap_or_default(),
    };
    if name == "ZADD" {
        let added = data.sorted_mut(&args[0])?.insert(args[2].clone(), score(&args[1])).is_none();
        return Ok(Reply::Number(added.into()));
    }
    let Some(found) = data.sorted(&args[0])?.cloned() else {
        return Ok(if name == "ZRANGEBYSCORE" { Reply::Array(Vec::new()) } else { Reply::Number(0) });
    };
    let within = |at: u64| (score(&args[1])..=score(&args[2])).contains(&at);
    let (hit, rest): (BTreeMap<String, u64>, BTreeMap<String, u64>) = match name {
        "ZREM" => found.into_iter().partition(|(member, _)| *member == args[1]),
        _ => found.into_iter().partition(|(_, at)| within(*at)),
    };
    if name == "ZRANGEBYSCORE" {
        return Ok(Reply::bulks(hit.into_keys()));
    }
    if rest.is_empty() {
        data.delete(&args[0]);
    } else {
        *data.sorted_mut(&args[0])? = rest;
    }
    Ok(Reply::Number(i64::try_from(hit.len()).unwrap_or(i64::MAX)))
}

fn streams(data: &mut Data, name: &str, args: &[String]) -> Result<Reply, WrongType> {
    let found = |data: &Data, key: &str| Ok::<_, WrongType>(data.stream(key)?.cloned().unwrap_or_default());
    match name {
        "XLEN" => Ok(Reply::Number(i64::try_from(found(data, &args[0])?.elements.len()).unwrap_or(i64::MAX))),
        "XRANGE" => {
            let from = args[1].strip_prefix('(').and_then(stream_id).map_or((0, 0), |(ms, number)| (ms, number + 1));
            let max = args[4].parse().unwrap_or(usize::MAX);
            Ok(elements(&found(data, &args[0])?, from, max))
        }
        _ => {
            let at = args.iter().position(|word| word.eq_ignore_ascii_case("STREAMS")).unwrap_or(0) + 1;
            let keys = &args[at..at + (args.len() - at) / 2];
            let max = args[1].parse().unwrap_or(usize::MAX);
            let mut streams = Vec::new();
            for key in keys {
                let stream = found(data, key)?;
                if !stream.elements.is_empty() {
                    streams.push(Reply::Array(vec![Reply::Bulk(key.clone()), elements(&stream, (0, 0), max)]));
                }
            }
            Ok(if streams.is_empty() { Reply::Nil } else { Reply::Array(streams) })
        }
    }
}

fn elements(stream: &Stream, from: StreamId, max: usize) -> Reply {
    let element = |(id, fields): (&StreamId, &Vec<(String, String)>)| {
        let fields = fields.iter().flat_map(|(name, value)| [name.clone(), value.clone()]);
        Reply::Array(vec![Reply::Bulk(format!("{}-{}", id.0, id.1)), Reply::bulks(fields)])
    };
    Reply::Array(stream.elements.range(from..).take(max).map(element).collect())
}

/// Commands as RESP2 writes them: arrays of bulk strings.
fn commands(mut input: &[u8]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    while !input.is_empty() {
        let count = length(&mut input, b'*');
        let mut words = Vec::with_capacity(count);
        for _ in 0..count {
            let bytes = length(&mut input, b'$');
            words.push(String::from_utf8_lossy(&input[..bytes]).into_owned());
            input = &input[bytes + 2..];
        }
        all.push(words);
    }
    all
}

fn length(input: &mut &[u8], kind: u8) -> usize {
    assert_eq!(input.first(), Some(&kind), "commands are sent whole");
    let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else { panic!("commands are sent whole") };
    let number = std::str::from_utf8(&input[1..end]).ok().and_then(|text| text.parse().ok());
    *input = &input[end + 2..];
    number.unwrap_or_else(|| panic!("not a length"))
}
