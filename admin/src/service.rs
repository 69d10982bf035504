//! The service: its workers and its API in one process.

use std::future::Future;

use anyhow::Context as _;
use commit_log::Log;
use contract::{
    activity::AnswerAfter,
    token::{Audience, TokenKey},
    topic,
};
use foundation::{
    Clock, Readiness,
    config::{LimitsConfig, ServerConfig, ShownSetting},
    metrics::Registry,
};
use images::Images;
use ledger::LedgerClient;
use limits::{Limits, Windows, WrongTries};
use store::{PASSWORD_BYTES_MAX, Passwords, Store};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use web::{Workers, count_requests, health_routes, serve_beside};

use crate::{
    api::{Api, LIMITED, Role, router},
    audit::{Book, Follower},
    auditor::Auditor,
    letters::Letters,
    open_once::OpenOnce,
    pages,
    processes::Processes,
    reader::TopicReader,
    warmer::Warmer,
};

/// The first admin's name.
const FIRST_ADMIN: &str = "admin";
/// The pause after a step that failed, in milliseconds.
const PAUSE_MS: u64 = 500;

/// What the service runs on.
#[derive(Debug)]
pub struct Admin<L, K, C> {
    /// The database; [`ensure_first_admin`] has been called.
    pub store: Store,
    /// The log.
    pub log: L,
    /// The ledgers; restored before [`run`].
    pub ledgers: K,
    /// Pictures of products.
    pub images: Images,
    /// The clock.
    pub clock: C,
    /// Checks passwords.
    pub passwords: Passwords,
    /// Key of the admins' tokens.
    pub admin_secret: Vec<u8>,
    /// Where it is counted how often somebody asks.
    pub windows: Windows,
    /// Section `limits` of the configuration.
    pub limits: LimitsConfig,
    /// Section `admin` of the configuration.
    pub server: ServerConfig,
    /// When buyers of a new sale get their answer, unless the sale says otherwise.
    pub answer_after: AnswerAfter,
    /// All settings, as the pages show them.
    pub settings: Vec<ShownSetting>,
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// What `/metrics` shows.
    pub metrics: Registry,
}

/// Makes the user `admin` with `password` unless there is one; whether it was made. An `admin` that is
/// there keeps the password it has. A password that was `generated` must be changed at the first sign-in to the pages.
///
/// # Errors
/// If the password is longer than bcrypt reads, or the database fails.
pub async fn ensure_first_admin(
    store: &Store,
    passwords: &Passwords,
    (password, generated): (&str, bool),
    clock: &impl Clock,
) -> anyhow::Result<bool> {
    if store.accounts().credentials(store::Realm::Admins, FIRST_ADMIN).await?.is_some() {
        return Ok(false);
    }
    anyhow::ensure!(password.len() <= PASSWORD_BYTES_MAX, "the first admin's password is longer than 72 bytes");
    let hash = passwords.hash(password).await?.context("too many passwords are being hashed")?;
    Ok(store.accounts().ensure_admin(FIRST_ADMIN, (&hash, generated), Role::Admin.as_str(), clock.now_ms()).await?)
}

/// Warns where the user `admin` has another password than `configured`, which counts for the first start alone.
///
/// # Errors
/// If the database or the hash fails.
pub async fn warn_of_other_password(store: &Store, passwords: &Passwords, configured: &str) -> anyhow::Result<bool> {
    let Some(found) = store.accounts().credentials(store::Realm::Admins, FIRST_ADMIN).await? else { return Ok(false) };
    let differs = !passwords.is_hash_of(configured, &found.password_hash).await?;
    if differs {
        tracing::warn!(
            "MALL_ADMIN_PASSWORD is not the password of the user admin, who keeps the one that is stored; \
             `mall admin-password` sets another one"
        );
    }
    Ok(differs)
}

/// Runs the workers and answers requests on `listener` until `stop`. A worker that dies by a bug stops
/// the whole, so that a supervisor restarts it.
///
/// # Errors
/// If the log can't be followed, or a worker died.
pub async fn run<L: Log, K: LedgerClient, C: Clock>(
    parts: Admin<L, K, C>,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ready = parts.readiness.part("admin", "starting");
    parts.log.create_topics(topic::fixed().to_vec()).await.context("topics")?;
    let book = Book::default();
    let mut follower = Follower::follow(&parts.log, book.clone()).await.context("journal")?;
    let Admin { store, clock, .. } = &parts;
    let ledgers = OpenOnce::new(parts.ledgers.clone(), store.clone(), book.clone(), clock.clone());
    let mut warmer = Warmer::new(store.clone(), ledgers.clone(), clock.clone());

    let stopped = stop.child_token();
    let mut running = JoinSet::new();
    let (pace, token) = (clock.clone(), stopped.clone());
    running.spawn(async move { while go_on("follower", follower.step(), &pace, &token).await {} });
    let (pace, token) = (clock.clone(), stopped.clone());
    running.spawn(async move { while go_on("warmer", warmer.step(), &pace, &token).await {} });

    let letters = Letters::default();
    let mut reader = TopicReader::follow(&parts.log, letters.clone()).await.context("dead letters")?;
    let (pace, token) = (clock.clone(), stopped.clone());
    running.spawn(async move { while go_on("letters", reader.step(), &pace, &token).await {} });

    let processes = Processes::default();
    let mut reader = TopicReader::follow(&parts.log, processes.clone()).await.context("processes")?;
    let (pace, token) = (clock.clone(), stopped.clone());
    running.spawn(async move { while go_on("processes", reader.step(), &pace, &token).await {} });

    let mut auditor = Auditor::new(store.clone(), ledgers.clone(), book.clone(), clock.clone(), &parts.metrics);
    let (pace, token) = (clock.clone(), stopped.clone());
    running.spawn(async move { while go_on("auditor", auditor.step(), &pace, &token).await {} });

    let signing = (parts.passwords.clone(), WrongTries::new(parts.windows.clone(), &parts.limits, "admins"));
    let shown = (store.clone(), ledgers, book, parts.images.clone());
    let api = Api::new(shown, signing, &parts.admin_secret, clock.clone());
    let api = api
        .with_letters(letters)
        .with_processes(processes)
        .ending_with(stopped.clone())
        .answering_after(parts.answer_after);
    let api = api.showing(parts.metrics.clone(), parts.settings.clone());
    let tokens = TokenKey::new(&parts.admin_secret, Audience::Admin);
    let (windows, metrics) = (parts.windows.clone(), (&parts.metrics, "admin"));
    let limits = Limits::new(windows, &parts.limits, (tokens, LIMITED), metrics, clock.clone());
    let router = count_requests(limits.limit(router(api.clone()).merge(pages::router(api))), &parts.metrics, "admin")
        .merge(health_routes(parts.readiness.clone(), parts.metrics.clone()));
    let workers = Workers { running, stop: stopped };
    let served = serve_beside(workers, (listener, router, &parts.server), &ready, &stop).await;
    served.context("a worker died")
}

/// Takes one step unless `stop` comes first; whether there is to be another.
async fn go_on<E: std::fmt::Display>(
    worker: &str,
    step: impl Future<Output = Result<(), E>>,
    clock: &impl Clock,
    stop: &CancellationToken,
) -> bool {
    let result = tokio::select! {
        biased;
        () = stop.cancelled() => return false,
        result = step => result,
    };
    if let Err(error) = result {
        tracing::warn!(worker, %error, "a step failed; it is tried again");
        tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            () = clock.sleep_until(clock.now_ms() + PAUSE_MS) => {}
        }
    }
    true
}
