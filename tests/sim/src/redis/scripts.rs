//! What the Lua scripts do, by the rules of `contract::stock`. A property test compares them with the scripts on a real
//! Redis, command by command (`tests/redis_model.rs`).

use contract::{
    ActivityId, OrderId,
    stock::{
        Command, Counters, Entry, Event, Hold, HoldState, Ledger, Outcome, RequestKey, Reservation, Snapshot, Term,
        script::key_prefix,
    },
};

use super::{
    Planted,
    data::{Data, WrongType},
};

const MARK: &str = "mark";
const CLOSED: &str = "closed";
const REBUILT: &str = "rebuilt";
const FROZEN: &str = "FROZEN the ledger is closed, or of another run";
const LOST: &str = "FROZEN a part of the ledger is lost";
const UNOPENED: &str = "UNOPENED the ledger is not here";

/// A script, known by its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Script {
    Reserve,
    Act,
    Close,
    Rebuild,
    Trim,
    Lease,
}

/// What a script answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Number(i64),
    Text(String),
    Error(String),
}

impl From<WrongType> for Answer {
    fn from(_: WrongType) -> Self {
        Self::Error("WRONGTYPE Operation against a key holding the wrong kind of value".to_owned())
    }
}

/// What a script knows of its server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    pub(crate) run: &'a str,
    pub(crate) now_ms: u64,
    /// Why a write fails.
    pub(crate) refuses: Option<&'static str>,
    pub(crate) planted: Planted,
}

impl Script {
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let scripts = [
            (include_str!("../../../../contract/lua/reserve.lua"), Self::Reserve),
            (include_str!("../../../../contract/lua/act.lua"), Self::Act),
            (include_str!("../../../../contract/lua/close.lua"), Self::Close),
            (include_str!("../../../../contract/lua/rebuild.lua"), Self::Rebuild),
            (include_str!("../../../../contract/lua/trim.lua"), Self::Trim),
            (include_str!("../../../../contract/lua/lease.lua"), Self::Lease),
        ];
        scripts.iter().find(|(body, _)| text.ends_with(body)).map(|(_, script)| *script)
    }

    /// Runs it: all of it, or nothing where it answers with an error.
    pub(crate) fn run(self, data: &mut Data, server: Server<'_>, keys: &[String], args: &[String]) -> Answer {
        let mut changed = data.clone();
        let answer = match self {
            Self::Reserve => reserve(&mut changed, server, keys, args),
            Self::Act => act(&mut changed, server, keys, args),
            Self::Close => close(&mut changed, server, keys, args),
            Self::Rebuild => rebuild(&mut changed, server, keys, args),
            Self::Trim => trim(&mut changed, server, keys, args),
            Self::Lease => lease(&mut changed, server, keys, args),
        };
        let answer = answer.unwrap_or_else(|error| error);
        // A server out of memory still deletes and trims.
        let frees = matches!(self, Self::Trim) && server.refuses.is_some_and(|why| why.starts_with("OOM"));
        match server.refuses {
            Some(why) if changed != *data && !frees => return Answer::Error(why.to_owned()),
            Some(_) | None => {}
        }
        if !matches!(answer, Answer::Error(_)) {
            *data = changed;
        }
        answer
    }
}

fn error(text: &str) -> Answer {
    Answer::Error(text.to_owned())
}

fn number(text: Option<&String>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The keys of a ledger.
struct Keys<'a> {
    ledger: &'a str,
    orders: &'a str,
    requests: &'a str,
    users: &'a str,
    restocks: &'a str,
    outbox: &'a str,
}

impl Keys<'_> {
    fn has_parts(&self, data: &Data) -> Result<bool, WrongType> {
        Ok(data.has_field(self.orders, MARK)?
            && data.has_field(self.requests, MARK)?
            && data.has_field(self.users, MARK)?
            && data.set(self.restocks)?.is_some_and(|set| set.contains(MARK))
            && data.exists(self.outbox))
    }
}

/// The ledger in the keys.
struct Found {
    ledger: Ledger,
    /// A sale that was ended keeps the instants that it has here.
    starts_at_ms: u64,
    ends_at_ms: u64,
}

fn read(data: &Data, activity: ActivityId, keys: &Keys<'_>, has_restocks: bool) -> Result<Found, Answer> {
    let fields = data.hash(keys.ledger)?.cloned().unwrap_or_default();
    let field = |name: &str| number(fields.get(name));
    let requests = data.hash(keys.requests)?.cloned().unwrap_or_default();
    let mut holds = Vec::new();
    let users = data.hash(keys.users)?.cloned().unwrap_or_default();
    for (order, text) in data.hash(keys.orders)?.into_iter().flatten().filter(|(order, _)| *order != MARK) {
        let request = requests.iter().find(|(_, first)| *first == order).and_then(|(key, _)| RequestKey::from_hex(key));
        holds.push(hold(order, text, request).ok_or_else(|| error("ERR not an order"))?);
    }
    // The latest order of a user is the last one.
    let latest = |hold: &Hold| {
        let share = users.get(&hold.reservation.user.to_string());
        let order = hold.reservation.order.to_string();
        share.is_some_and(|share| share.rsplit(':').next() == Some(order.as_str()))
    };
    holds.sort_by_key(|hold| (latest(hold), hold.reservation.order));
    let restocks = data.set(keys.restocks)?.into_iter().flatten().filter(|id| *id != MARK && has_restocks);
    let restocks = restocks.filter_map(|id| id.parse().ok()).collect();
    let (starts_at_ms, ends_at_ms) = (field("starts"), field("ends"));
    let per_user_limit = u32::try_from(field("limit")).unwrap_or(u32::MAX);
    let rules = contract::activity::Rules { per_user_limit, starts_at_ms, ends_at_ms };
    let (total, term, epoch, seq) = (field("total"), Term(field("term")), field("epoch"), field("seq"));
    let snapshot = Snapshot { activity, rules, total, term, is_open: true, epoch, seq, holds, restocks };
    let ledger = Ledger::restore(&snapshot).map_err(|_| error("BROKEN the ledger would lose count"))?;
    Ok(Found { ledger, starts_at_ms, ends_at_ms })
}

fn hold(order: &str, text: &str, request: Option<RequestKey>) -> Option<Hold> {
    let mut words = text.split(':');
    let user = words.next()?.parse().ok()?;
    let quantity = words.next().map_or(Some(1), |units| units.parse().ok())?;
    let state = match words.next().unwrap_or("h") {
        "h" => HoldState::Held,
        "s" => HoldState::Sold,
        _ => HoldState::Released,
    };
    Some(Hold { reservation: Reservation { order: order.parse().ok()?, user, request, quantity }, state })
}

fn activity_of(ledger: &str) -> Result<ActivityId, Answer> {
    let id = ledger.strip_prefix("mall:{").and_then(|rest| rest.split_once(".0}")).and_then(|(id, _)| id.parse().ok());
    id.ok_or_else(|| error("ERR not a ledger"))
}

/// Writes the counters as `HSET` does.
fn write_counts(data: &mut Data, keys: &Keys<'_>, ledger: &Ledger, names: &[&str]) -> Result<(), Answer> {
    let counters = ledger.counters();
    let counts = [
        ("total", counters.total),
        ("available", counters.available),
        ("held", counters.held),
        ("sold", counters.sold),
        ("epoch", counters.epoch),
        ("seq", counters.seq),
    ];
    let hash = data.hash_mut(keys.ledger)?;
    for (name, count) in counts.iter().filter(|(name, _)| names.contains(name)) {
        hash.insert((*name).to_owned(), count.to_string());
    }
    Ok(())
}

fn read_share(text: &str) -> (u64, &str) {
    text.split_once(':').map_or((1, text), |(units, latest)| (units.parse().unwrap_or(1), latest))
}

fn share(units: u64, latest: &str) -> String {
    if units == 1 { latest.to_owned() } else { format!("{units}:{latest}") }
}

fn asked(words: &[String]) -> Option<Reservation> {
    let [order, user, request, quantity] = words else { return None };
    let request = if request.is_empty() { None } else { Some(RequestKey::from_hex(request)?) };
    Some(Reservation {
        order: order.parse().ok()?,
        user: user.parse().ok()?,
        request,
        quantity: quantity.parse().ok()?,
    })
}

fn reserve(data: &mut Data, server: Server<'_>, keys: &[String], args: &[String]) -> Result<Answer, Answer> {
    let [ledger, orders, requests, users, outbox, _window] = keys else { return Err(error("ERR keys")) };
    let keys = Keys { ledger, orders, requests, users, restocks: "", outbox };
    let fields = data.fields(ledger, &["run", "term"])?;
    let [Some(run), term] = &fields[..] else { return Err(error(UNOPENED)) };
    let expected = if args[0].is_empty() { server.run } else { args[0].as_str() };
    let is_open = run != CLOSED && run != REBUILT;
    if run != expected && !(is_open && server.planted == Planted::SellsOnAnyRun) {
        return Err(error(FROZEN));
    }
    let term = term.clone().unwrap_or_default();
    if !args[1].is_empty() && args[1] != term && server.planted != Planted::SellsInAnyTerm {
        return Err(error(&format!("TERM the ledger is in term {term}")));
    }
    let asks: Option<Vec<Reservation>> = args[5..].chunks(4).map(asked).collect();
    let asks = asks.ok_or_else(|| error("ERR not a reservation"))?;
    let needed: &[&str] =
        if asks.iter().any(|asked| asked.request.is_some()) { &[users, orders, requests] } else { &[users, orders] };
    for part in needed {
        if !data.has_field(part, MARK)? && server.planted != Planted::IgnoresLostParts {
            return Err(error(LOST));
        }
    }
    let Found { mut ledger, starts_at_ms, .. } = read(data, activity_of(keys.ledger)?, &keys, false)?;
    let (mut now_ms, mut repeats_only) = (server.now_ms, false);
    match args[2].as_str() {
        "" => {}
        "over" => repeats_only = true,
        "promised" => now_ms = starts_at_ms,
        text => now_ms = text.parse().unwrap_or(server.now_ms),
    }
    let decided_at = match args[2].parse::<u64>() {
        Ok(given) => given,
        Err(_) => server.now_ms,
    };
    let (mut entries, mut words, mut held) = (Vec::new(), Vec::new(), Vec::new());
    let first_seq = ledger.counters().seq + 1;
    let epoch = ledger.counters().epoch;
    for (at, reservation) in asks.iter().enumerate() {
        let command = if repeats_only { Command::Repeat(*reservation) } else { Command::Reserve(*reservation) };
        let outcome = ledger.apply(command, now_ms, &mut entries);
        if outcome == (Outcome::Held { order: reservation.order, repeated: false }) {
            held.push(args[5 + 4 * at..9 + 4 * at].join(" "));
        }
        words.push(word(outcome));
    }
    if !entries.is_empty() {
        if server.planted == Planted::LosesOutbox && held.len() > 1 {
            held.pop();
        }
        if !data.exists(keys.outbox) && server.planted != Planted::IgnoresLostParts {
            return Err(error(LOST));
        }
        let numbers = [("m", term.clone()), ("s", first_seq.to_string()), ("e", epoch.to_string())];
        let fields = numbers.into_iter().chain([("t", decided_at.to_string()), ("h", held.join(" "))]);
        let fields = fields.map(|(name, value)| (name.to_owned(), value)).collect();
        data.stream_mut(keys.outbox)?.add(server.now_ms, fields);
        for entry in &entries {
            write_hold(data, &keys, entry)?;
        }
        write_counts(data, &keys, &ledger, &["available", "held", "seq"])?;
    }
    let counters = ledger.counters();
    let named = if server.planted == Planted::SellsInAnyTerm && !args[1].is_empty() { &args[1] } else { &term };
    Ok(Answer::Text(format!(
        "{named} {} {} {} {} {} {} {}",
        counters.epoch,
        counters.seq,
        counters.total,
        counters.available,
        counters.held,
        counters.sold,
        words.join(" ")
    )))
}

fn word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Held { order, repeated: true } => format!("r{order}"),
        Outcome::Held { .. } => "h".to_owned(),
        Outcome::SoldOut => "s".to_owned(),
        Outcome::LimitReached => "l".to_owned(),
        Outcome::NotStarted => "n".to_owned(),
        Outcome::Ended => "e".to_owned(),
        Outcome::RateLimited => "w".to_owned(),
        Outcome::KeyReused => "k".to_owned(),
        Outcome::Conflict => "c".to_owned(),
        Outcome::Done => "d".to_owned(),
        Outcome::UnknownOrder => "u".to_owned(),
        Outcome::Refused => "x".to_owned(),
    }
}

/// The fields of a hold, as `reserve.lua` writes them.
fn write_hold(data: &mut Data, keys: &Keys<'_>, entry: &Entry) -> Result<(), Answer> {
    let Event::Held(Reservation { order, user, request, quantity }) = entry.event else { return Ok(()) };
    let (order, user) = (order.to_string(), user.to_string());
    let text = if quantity == 1 { user.clone() } else { format!("{user}:{quantity}:h") };
    data.hash_mut(keys.orders)?.insert(order.clone(), text);
    if let Some(request) = request {
        let key = request.hex().map(char::from).iter().collect();
        data.hash_mut(keys.requests)?.insert(key, order.clone());
    }
    let users = data.hash_mut(keys.users)?;
    let owned = users.get(&user).map_or(0, |text| read_share(text).0);
    users.insert(user, share(owned + u64::from(quantity), &order));
    Ok(())
}

fn act(data: &mut Data, server: Server<'_>, keys: &[String], args: &[String]) -> Result<Answer, Answer> {
    let [ledger, orders, users, restocks, outbox, requests] = keys else { return Err(error("ERR keys")) };
    let keys = Keys { ledger, orders, requests, users, restocks, outbox };
    let fields = data.fields(ledger, &["run", "term"])?;
    let [Some(run), term] = &fields[..] else { return Err(error(UNOPENED)) };
    let term = term.clone().unwrap_or_default();
    let expected = if args[0].is_empty() { server.run } else { args[0].as_str() };
    if run != expected {
        return Err(error(FROZEN));
    }
    if !keys.has_parts(data)? && server.planted != Planted::IgnoresLostParts {
        return Err(error(LOST));
    }
    let Found { mut ledger, starts_at_ms, ends_at_ms } = read(data, activity_of(keys.ledger)?, &keys, true)?;
    let now_ms = args[1].parse().unwrap_or(server.now_ms);
    let before = ledger.counters();
    let (mut entries, mut words) = (Vec::new(), Vec::new());
    for command in args[2..].chunks(3) {
        let [kind, id, delta] = command else { return Err(error("ERR not a command")) };
        let order = || id.parse::<OrderId>().map_err(|_| error("ERR not an order"));
        let command = match kind.as_str() {
            "s" => Command::Settle(order()?),
            "r" => Command::Release(order()?),
            "e" => Command::End { ends_at_ms: id.parse().unwrap_or_default() },
            _ => {
                let operation = id.parse().map_err(|_| error("ERR not an operation"))?;
                Command::Restock { operation, delta: delta.parse().unwrap_or_default() }
            }
        };
        words.push(word(ledger.apply(command, now_ms, &mut entries)));
    }
    if !entries.is_empty() {
        let events: Vec<String> = entries.iter().map(event).collect();
        for entry in &entries {
            write_event(data, &keys, entry, (starts_at_ms, ends_at_ms), server.planted)?;
        }
        write_counts(data, &keys, &ledger, &["total", "available", "held", "sold", "epoch", "seq"])?;
        let numbers = [("m", term), ("s", (before.seq + 1).to_string()), ("e", before.epoch.to_string())];
        let fields = numbers.into_iter().chain([("t", now_ms.to_string()), ("x", events.join("\n"))]);
        let fields = fields.map(|(name, value)| (name.to_owned(), value)).collect();
        let is_release = |entry: &Entry| matches!(entry.event, Event::Released { .. });
        if !(server.planted == Planted::SilentRelease && entries.iter().all(is_release)) {
            data.stream_mut(outbox)?.add(server.now_ms, fields);
        }
    }
    Ok(Answer::Text(words.join(" ")))
}

fn event(entry: &Entry) -> String {
    match entry.event {
        Event::Settled { order, quantity } => format!("s {order} {quantity}"),
        Event::Released { order, quantity } => format!("r {order} {quantity}"),
        Event::Restocked { operation, delta } => format!("p {operation} {delta}"),
        Event::Ended { ends_at_ms } => format!("e {ends_at_ms}"),
        Event::Opened { .. }
        | Event::Held(_)
        | Event::TermStarted { .. }
        | Event::TermOpened(_)
        | Event::PromiseFailed { .. } => String::new(),
    }
}

fn write_event(
    data: &mut Data,
    keys: &Keys<'_>,
    entry: &Entry,
    times_ms: (u64, u64),
    planted: Planted,
) -> Result<(), Answer> {
    match entry.event {
        Event::Settled { order, .. } => leave(data, keys, order, 's').map(drop)?,
        Event::Released { order, quantity } => {
            let user = leave(data, keys, order, 'r')?;
            let users = data.hash_mut(keys.users)?;
            let text = users.get(&user).cloned().unwrap_or_default();
            let (owned, latest) = read_share(&text);
            if owned > u64::from(quantity) {
                users.insert(user, share(owned - u64::from(quantity), latest));
            } else {
                data.remove_field(keys.users, &user)?;
            }
        }
        Event::Restocked { .. } if planted == Planted::RestocksAgain => {}
        Event::Restocked { operation, .. } => drop(data.set_mut(keys.restocks)?.insert(operation.to_string())),
        Event::Ended { ends_at_ms } => {
            let hash = data.hash_mut(keys.ledger)?;
            hash.insert("starts".to_owned(), times_ms.0.min(ends_at_ms.saturating_sub(1)).to_string());
            hash.insert("ends".to_owned(), ends_at_ms.to_string());
        }
        Event::Opened { .. }
        | Event::Held(_)
        | Event::TermStarted { .. }
        | Event::TermOpened(_)
        | Event::PromiseFailed { .. } => {}
    }
    Ok(())
}

/// The order's user.
fn leave(data: &mut Data, keys: &Keys<'_>, order: OrderId, state: char) -> Result<String, Answer> {
    let orders = data.hash_mut(keys.orders)?;
    let text = orders.get(&order.to_string()).cloned().unwrap_or_default();
    let mut words = text.split(':');
    let (user, units) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or("1"));
    orders.insert(order.to_string(), format!("{user}:{units}:{state}"));
    Ok(user)
}

fn close(data: &mut Data, server: Server<'_>, keys: &[String], args: &[String]) -> Result<Answer, Answer> {
    let term = data.fields(&keys[0], &["term"])?.remove(0);
    if let Some(term) = term
        .filter(|_| server.planted != Planted::ClosesForAnyTerm)
        .filter(|term| number(Some(term)) >= number(args.first()))
    {
        return Err(error(&format!("TERM the ledger is in term {term}")));
    }
    if server.planted == Planted::DropsOutbox {
        // Where the key is gone, the recovery reads the ledger itself; an outbox that is there and empty is believed.
        let outbox = keys[0].replace("ledger", "outbox");
        if data.exists(&outbox) {
            data.stream_mut(&outbox)?.elements.clear();
        }
    }
    let hash = data.hash_mut(&keys[0])?;
    hash.insert("term".to_owned(), args[0].clone());
    hash.insert("run".to_owned(), CLOSED.to_owned());
    Ok(Answer::Number(1))
}

fn rebuild(data: &mut Data, server: Server<'_>, keys: &[String], args: &[String]) -> Result<Answer, Answer> {
    let [ledger, orders, requests, users, restocks, outbox, window] = keys else { return Err(error("ERR keys")) };
    let (step, term) = (args[0].as_str(), &args[1]);
    let found = data.fields(ledger, &["term", "run", "rebuilt_on"])?;
    let expected = if step == "open" { REBUILT } else { CLOSED };
    let is_term = found[0].as_ref() == Some(term) || server.planted == Planted::RebuildsAnyTerm;
    if !is_term || found[1].as_deref() != Some(expected) {
        let show = |field: &Option<String>| field.clone().unwrap_or_else(|| "false".to_owned());
        return Err(error(&format!("TERM the ledger is in term {}, {}", show(&found[0]), show(&found[1]))));
    }
    if step != "begin" && found[2].as_deref() != Some(server.run) {
        return Err(error("TERM the rebuild was begun on another run"));
    }
    match step {
        "begin" => {
            data.hash_mut(ledger)?.insert("rebuilt_on".to_owned(), server.run.to_owned());
            for key in [orders, requests, users, restocks, window] {
                data.delete(key);
            }
            for key in [orders, requests, users] {
                data.hash_mut(key)?.insert(MARK.to_owned(), "1".to_owned());
            }
            data.set_mut(restocks)?.insert(MARK.to_owned());
        }
        "put" => {
            let key = &keys[args[2].parse::<usize>().unwrap_or(1) - 1];
            if key == restocks {
                data.set_mut(key)?.extend(args[3..].iter().cloned());
            } else {
                let hash = data.hash_mut(key)?;
                for pair in args[3..].chunks(2) {
                    hash.insert(pair[0].clone(), pair[1].clone());
                }
            }
        }
        "end" => {
            let count = |at: usize| number(args.get(at));
            if count(6) + count(7) + count(8) != count(5) {
                return Err(error("BROKEN the ledger would lose count"));
            }
            let hash = data.hash_mut(ledger)?;
            let names = ["starts", "ends", "limit", "total", "available", "held", "sold", "epoch", "seq"];
            hash.extend(names.iter().zip(&args[2..]).map(|(name, value)| ((*name).to_owned(), value.clone())));
            hash.insert("run".to_owned(), REBUILT.to_owned());
            hash.insert(MARK.to_owned(), "1".to_owned());
        }
        _ => {
            let keys = Keys { ledger, orders, requests, users, restocks, outbox: orders };
            if !keys.has_parts(data)? {
                return Err(error("TERM a part of the ledger is lost"));
            }
            let stream = data.stream_mut(outbox)?;
            if stream.last == (0, 0) {
                stream.add(server.now_ms, Vec::new());
            }
            stream.elements.clear();
            data.hash_mut(ledger)?.insert("run".to_owned(), server.run.to_owned());
        }
    }
    Ok(Answer::Number(1))
}

fn trim(data: &mut Data, server: Server<'_>, keys: &[String], args: &[String]) -> Result<Answer, Answer> {
    let found = data.fields(&keys[0], &["term", "run"])?;
    let is_open = found[0].as_ref() == Some(&args[0]) && found[1].as_deref() == Some(server.run);
    if !is_open && server.planted != Planted::TrimsAnyTerm {
        return Ok(Answer::Number(0));
    }
    if data.exists(&keys[1]) {
        let keep = super::data::stream_id(&args[1]).ok_or_else(|| error("ERR Invalid stream ID"))?;
        data.stream_mut(&keys[1])?.elements.retain(|id, _| *id >= keep);
    }
    Ok(Answer::Number(1))
}

fn lease(data: &mut Data, server: Server<'_>, keys: &[String], args: &[String]) -> Result<Answer, Answer> {
    if data.text(&keys[0], server.now_ms).is_some_and(|holder| *holder != args[0]) {
        return Ok(Answer::Number(0));
    }
    if args[1] == "0" {
        data.delete(&keys[0]);
        return Ok(Answer::Number(0));
    }
    data.put_text(&keys[0], &args[0], server.now_ms + number(args.get(1)));
    Ok(Answer::Number(1))
}

/// A ledger's counters, for the checks at the end of a run.
pub(crate) fn read_counters(data: &Data, activity: ActivityId) -> Option<Counters> {
    let fields = data.hash(&format!("{}ledger", key_prefix(activity))).ok()??;
    let field = |name: &str| fields.get(name)?.parse::<u64>().ok();
    Some(Counters {
        total: field("total")?,
        available: field("available")?,
        held: field("held")?,
        sold: field("sold")?,
        term: Term(field("term")?),
        epoch: field("epoch")?,
        seq: field("seq")?,
    })
}

/// All of a ledger, for the checks at the end of a run.
pub(crate) fn read_snapshot(data: &Data, activity: ActivityId) -> Snapshot {
    let [ledger, orders, requests, users, restocks, outbox] =
        ["ledger", "orders", "requests", "users", "restocks", "outbox"]
            .map(|name| format!("{}{name}", key_prefix(activity)));
    let keys = Keys {
        ledger: &ledger,
        orders: &orders,
        requests: &requests,
        users: &users,
        restocks: &restocks,
        outbox: &outbox,
    };
    match read(data, activity, &keys, true) {
        Ok(found) => found.ledger.snapshot(),
        Err(answer) => panic!("the ledger in Redis can't be read: {answer:?}"),
    }
}
