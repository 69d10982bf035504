//! Writes the calls of a sale down for `bench judge`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use contract::OrderId;

use crate::{
    buyers::Buyers,
    judge::format::{Answer, Header, Line},
};

/// One request to buy one unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub user: u32,
    pub sent_ns: u64,
    pub answered_ns: Option<u64>,
    pub answer: Answer,
    pub order: Option<OrderId>,
    pub body: Option<u64>,
}

/// Writes a whole history; `reads` are orders that were read back.
pub(crate) fn write(
    path: &Path,
    header: &Header,
    buyers: &Buyers,
    calls: &[Call],
    reads: &[Line],
) -> Result<(), String> {
    let fault = |error: std::io::Error| format!("--history {}: {error}", path.display());
    let mut out = BufWriter::new(File::create(path).map_err(fault)?);
    let mut line = |text: serde_json::Result<String>| {
        let text = text.map_err(std::io::Error::other)?;
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"))
    };
    line(serde_json::to_string(header)).map_err(fault)?;
    for call in calls {
        line(serde_json::to_string(&buy(buyers, call))).map_err(fault)?;
    }
    for read in reads {
        line(serde_json::to_string(read)).map_err(fault)?;
    }
    let lines = 2 + calls.len() as u64 + reads.len() as u64;
    line(serde_json::to_string(&Line::End { lines })).map_err(fault)?;
    out.flush().map_err(fault)
}

fn buy(buyers: &Buyers, call: &Call) -> Line {
    let user = buyers.id(call.user).to_string();
    Line::Buy {
        key: user.clone(),
        user,
        quantity: 1,
        sent_ns: call.sent_ns,
        answered_ns: call.answered_ns,
        answer: call.answer,
        order: call.order.map(|order| order.to_string()),
        body: call.body.map(|body| format!("{body:016x}")),
    }
}
