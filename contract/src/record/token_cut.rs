//! Access tokens that are not good any more.

use super::{Record, begin, header, kind, only};
use crate::{
    SessionId, UserId,
    codec::{DecodeError, Reader, Writer},
};

/// Access tokens of a user are not good any more, on [`crate::topic::TOKEN_CUTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCut {
    /// Whose tokens.
    pub user: UserId,
    /// When, epoch milliseconds. Tokens of sessions that began later are good.
    pub at_ms: u64,
    /// Which of them.
    pub scope: CutScope,
}

/// Which tokens of a user are not good any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutScope {
    /// All of them.
    All,
    /// Those of every session but this one.
    AllBut(SessionId),
    /// Those of this session.
    One(SessionId),
}

impl Record for TokenCut {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut writer: Writer<'_> = begin(out, kind::TOKEN_CUT);
        writer.i64(self.user.as_i64()).u64(self.at_ms);
        match self.scope {
            CutScope::All => writer.u8(0),
            CutScope::AllBut(session) => writer.u8(1).i64(session.as_i64()),
            CutScope::One(session) => writer.u8(2).i64(session.as_i64()),
        };
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (kind, mut reader): (u8, Reader<'_>) = header(bytes)?;
        only(kind, kind::TOKEN_CUT)?;
        let (user, at_ms) = (reader.id(UserId::from_i64)?, reader.u64()?);
        let scope = match reader.u8()? {
            0 => CutScope::All,
            1 => CutScope::AllBut(reader.id(SessionId::from_i64)?),
            2 => CutScope::One(reader.id(SessionId::from_i64)?),
            _ => return Err(DecodeError::OutOfRange),
        };
        reader.end()?;
        Ok(Self { user, at_ms, scope })
    }
}
