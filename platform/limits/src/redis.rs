//! Windows in Redis, shared by every process.

use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foundation::redis::Connection;
use redis::{Script, cmd};

use crate::{Away, Rule, Stamp, Taken};

/// How long Redis has to answer; an answer that is waited for keeps a client waiting.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// After Redis did not answer it is not asked for so long.
const REST_MS: u64 = 1_000;

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("../../../contract/lua/limit.lua")));

/// Windows in Redis: a sorted set each, which Redis forgets once nothing in it counts.
#[derive(Clone)]
pub struct RedisWindows {
    connection: Connection,
    /// Told apart from those of other processes by where they begin.
    next: Arc<AtomicU64>,
    rests_until_ms: Arc<AtomicU64>,
}

impl fmt::Debug for RedisWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisWindows")
    }
}

impl RedisWindows {
    /// Windows behind `connection`.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn new(connection: Connection) -> Result<Self, Away> {
        let first = getrandom::u64().map_err(|error| Away(error.to_string()))?;
        Ok(Self { connection, next: Arc::new(first.into()), rests_until_ms: Arc::default() })
    }

    pub(crate) async fn take(&self, name: &str, Rule { max, within_ms }: Rule, now_ms: u64) -> Result<Taken, Away> {
        let stamp = Stamp(self.next.fetch_add(1, Ordering::Relaxed));
        let mut script = TAKE.key(key(name));
        script.arg(max.get()).arg(within_ms).arg(now_ms).arg(stamp.0);
        let mut connection = self.connection.clone();
        let asked = script.invoke_async(&mut connection);
        let (taken, count, frees_ms): (bool, u32, u64) = self.answer(asked, now_ms).await?;
        let left = max.get().saturating_sub(count);
        Ok(Taken { stamp: taken.then_some(stamp), left, frees_ms: frees_ms.max(1) })
    }

    pub(crate) async fn give_back(&self, name: &str, stamp: Stamp, now_ms: u64) -> Result<(), Away> {
        let mut remove = cmd("ZREM");
        remove.arg(key(name)).arg(stamp.0);
        let mut connection = self.connection.clone();
        let _: u64 = self.answer(remove.query_async(&mut connection), now_ms).await?;
        Ok(())
    }

    pub(crate) async fn clear(&self, name: &str, now_ms: u64) -> Result<(), Away> {
        let mut forget = cmd("DEL");
        forget.arg(key(name));
        let mut connection = self.connection.clone();
        let _: u64 = self.answer(forget.query_async(&mut connection), now_ms).await?;
        Ok(())
    }

    async fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, redis::RedisError>>,
        now_ms: u64,
    ) -> Result<T, Away> {
        if now_ms < self.rests_until_ms.load(Ordering::Relaxed) {
            return Err(Away("Redis did not answer a moment ago".to_owned()));
        }
        let away = match tokio::time::timeout(ANSWER_MAX, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {ANSWER_MAX:?}"),
        };
        self.rests_until_ms.store(now_ms + REST_MS, Ordering::Relaxed);
        Err(Away(format!("Redis: {away}")))
    }
}

/// Braces would have a cluster keep all of a path's windows in one place.
fn key(name: &str) -> String {
    format!("mall:limit:{}", name.replace(['{', '}'], ""))
}
