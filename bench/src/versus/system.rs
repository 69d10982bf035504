//! The systems that are compared: a server and the stores that it needs, all private and on loopback.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use contract::ActivityId;
use foundation::{
    Clock, SystemClock,
    data_dir::{ADMIN_PASSWORD_FILE, SHOPPER_SECRET_FILE, read_secret},
};
use serde_json::json;
use services::{MariaDb, Redis, free_port};
use tempfile::TempDir;

use super::VersusOptions;
use crate::{cpu::Watched, mall::Mall};

const READY_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The core of the servers; the load client is to be run on another one.
const SERVER_CORE: &str = "0";
/// From libnginx-mod-http-lua and lua-nginx-redis.
const LUA_FILES: [&str; 2] = ["/usr/lib/nginx/modules/ngx_http_lua_module.so", "/usr/share/lua/5.1/nginx/redis.lua"];
const SECRET: &str = "a secret that only this comparison uses";

/// A way to sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    MallMonoio,
    MallGlommio,
    MallMay,
    AxumEvalsha,
    NginxLua,
    DecrQueue,
    Mysql,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::MallMonoio,
        Self::MallGlommio,
        Self::MallMay,
        Self::AxumEvalsha,
        Self::NginxLua,
        Self::DecrQueue,
        Self::Mysql,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::MallMonoio => "mall, monoio",
            Self::MallGlommio => "mall, glommio",
            Self::MallMay => "mall, may",
            Self::AxumEvalsha => "axum + EVALSHA",
            Self::NginxLua => "nginx + Lua",
            Self::DecrQueue => "DECR + queue",
            Self::Mysql => "MySQL only",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::MallMonoio | Self::MallGlommio | Self::MallMay => {
                "this mall in one process, everything embedded: a yes is on the disk, and the order is in the database a moment later"
            }
            Self::AxumEvalsha => {
                "axum and redis-rs, one EVALSHA a request; orders stay in Redis (appendfsync everysec)"
            }
            Self::NginxLua => "nginx with Lua, the same script; the token's signature is not checked",
            Self::DecrQueue => "SET NX, DECR, LPUSH; a worker inserts from the queue into MariaDB",
            Self::Mysql => "one transaction a request in MariaDB: INSERT, UPDATE ... WHERE stock > 0",
        }
    }

    const fn runtime(self) -> Option<&'static str> {
        match self {
            Self::MallMonoio => Some("monoio"),
            Self::MallGlommio => Some("glommio"),
            Self::MallMay => Some("may"),
            Self::AxumEvalsha | Self::NginxLua | Self::DecrQueue | Self::Mysql => None,
        }
    }
}

/// A running system.
pub(crate) struct System {
    kind: Kind,
    program: PathBuf,
    args: Vec<String>,
    variables: Vec<(&'static str, String)>,
    server: Option<Child>,
    redis: Option<Redis>,
    database: Option<MariaDb>,
    dir: TempDir,
    pub gateway: String,
    order_core: String,
    admin: String,
}

impl Drop for System {
    fn drop(&mut self) {
        self.kill_server();
    }
}

impl System {
    /// Starts it; `None` if a server that it needs is not installed.
    pub(super) fn start(kind: Kind, options: &VersusOptions) -> Result<Option<Self>, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let address = || format!("127.0.0.1:{}", free_port());
        let (gateway, order_core, admin) = (address(), address(), address());
        let mut system = Self {
            kind,
            program: options.baseline.clone(),
            args: vec!["--listen".to_owned(), gateway.clone()],
            variables: vec![("BASELINE_SECRET", SECRET.to_owned())],
            server: None,
            redis: None,
            database: None,
            dir,
            gateway: format!("http://{gateway}"),
            order_core: format!("http://{gateway}"),
            admin: format!("http://{gateway}"),
        };
        if kind == Kind::NginxLua && !LUA_FILES.iter().all(|file| Path::new(file).exists()) {
            return Ok(None);
        }
        if matches!(kind, Kind::AxumEvalsha | Kind::NginxLua | Kind::DecrQueue) {
            let Some(redis) = Redis::start() else { return Ok(None) };
            system.redis = Some(redis);
        }
        if matches!(kind, Kind::DecrQueue | Kind::Mysql) {
            let Some(database) = MariaDb::start() else { return Ok(None) };
            system.database = Some(database);
        }
        if let Some(runtime) = kind.runtime() {
            system.be_mall(&options.mall, runtime, (gateway, order_core, admin, address()));
        } else if kind == Kind::NginxLua {
            system.be_nginx(&options.nginx)?;
        } else {
            system.be_baseline();
        }
        system.start_server()?;
        Ok(Some(system))
    }

    fn be_mall(
        &mut self,
        mall: &Path,
        runtime: &str,
        (gateway, order_core, admin, metrics): (String, String, String, String),
    ) {
        mall.clone_into(&mut self.program);
        self.args = vec!["--runtime".to_owned(), runtime.to_owned()];
        self.order_core = format!("http://{order_core}");
        self.admin = format!("http://{admin}");
        let any = "1000000".to_owned();
        self.variables = vec![
            ("MALL_DATA_DIR", self.dir.path().display().to_string()),
            ("MALL_GATEWAY__LISTEN", gateway),
            ("MALL_ORDER_CORE__LISTEN", order_core),
            ("MALL_ADMIN__LISTEN", admin),
            ("MALL_METRICS__LISTEN", metrics),
            ("MALL_LOG__LEVEL", "warn".to_owned()),
            ("MALL_GATEWAY__THREADS", "1".to_owned()),
            ("MALL_LIMITS__READ_MAX", "0".to_owned()),
            ("MALL_GATEWAY__CLIENT_RATE_PER_S", any.clone()),
            ("MALL_GATEWAY__CLIENT_BURST", any),
        ];
    }

    fn be_nginx(&mut self, source: &Path) -> Result<(), String> {
        let template = source.join("nginx.conf.in");
        let fault = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let here = source.canonicalize().map_err(|error| fault(source, error))?;
        let config = std::fs::read_to_string(&template).map_err(|error| fault(&template, error))?;
        let dir = self.dir.path().display().to_string();
        let port = |url: &str| url.rsplit(':').next().unwrap_or_default().trim_end_matches('/').to_owned();
        let config = config
            .replace("@DIR@", &dir)
            .replace("@HERE@", &here.display().to_string())
            .replace("@PORT@", &port(&self.gateway))
            .replace("@REDIS_PORT@", &self.redis.as_ref().map(|redis| port(&redis.url())).unwrap_or_default());
        let file = self.dir.path().join("nginx.conf");
        std::fs::write(&file, config).map_err(|error| fault(&file, error))?;
        self.program = PathBuf::from("nginx");
        let log = self.dir.path().join("error.log").display().to_string();
        // Its modules are found from the prefix of the installation.
        self.args =
            ["-c", &file.display().to_string(), "-e", &log, "-p", "/usr/share/nginx/"].map(str::to_owned).to_vec();
        Ok(())
    }

    fn be_baseline(&mut self) {
        self.args.push(
            if self.kind == Kind::AxumEvalsha {
                "evalsha"
            } else if self.kind == Kind::Mysql {
                "mysql"
            } else {
                "decr-queue"
            }
            .to_owned(),
        );
        if let Some(redis) = &self.redis {
            self.args.extend(["--redis".to_owned(), redis.url()]);
        }
        if let Some(database) = &self.database {
            self.args.extend(["--database".to_owned(), database.database()]);
        }
    }

    fn start_server(&mut self) -> Result<(), String> {
        let log = self.dir.path().join("server.log");
        let file = std::fs::File::options().create(true).append(true).open(&log).map_err(|error| error.to_string())?;
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CORE]).arg(&self.program).args(&self.args);
        let child = command
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn();
        self.server = Some(child.map_err(|error| format!("{}: {error}", self.program.display()))?);
        for pid in
            self.redis.as_ref().and_then(Redis::id).into_iter().chain(self.database.as_ref().and_then(MariaDb::id))
        {
            pin(pid);
        }
        let began = Instant::now();
        while !is_ready(&self.gateway) {
            let ended = self.server.as_mut().is_some_and(|server| !matches!(server.try_wait(), Ok(None)));
            if ended || began.elapsed() > READY_MAX {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(format!(
                    "{} does not start: {}",
                    self.kind.name(),
                    said.lines().last().unwrap_or("it says nothing")
                ));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// kill -9.
    fn kill_server(&mut self) {
        if let Some(mut server) = self.server.take() {
            // Workers of nginx end by themselves when their master is gone only if they are killed too.
            for pid in children(server.id()) {
                signal(pid);
            }
            drop(server.kill());
            drop(server.wait());
        }
    }

    /// Kills the server and starts it again.
    pub(super) fn restart_server(&mut self) -> Result<(), String> {
        self.kill_server();
        self.start_server()
    }

    /// Kills Redis, or the database of a system without one, and starts it again; what it was.
    pub(super) fn restart_store(&mut self) -> Option<&'static str> {
        if let Some(redis) = &mut self.redis {
            redis.kill();
            redis.resume();
            redis.id().into_iter().for_each(pin);
            return Some("Redis");
        }
        let database = self.database.as_mut()?;
        database.kill();
        database.resume();
        database.id().into_iter().for_each(pin);
        Some("MariaDB")
    }

    /// Every process of it.
    pub(super) fn processes(&self) -> Vec<Watched> {
        let server = self.server.as_ref().map(Child::id);
        let servers = server.into_iter().flat_map(|pid| children(pid).into_iter().chain([pid]));
        let stores =
            self.redis.as_ref().and_then(Redis::id).into_iter().chain(self.database.as_ref().and_then(MariaDb::id));
        servers.chain(stores).map(|pid| Watched { name: format!("{pid}"), pid }).collect()
    }

    /// The key of its shoppers' tokens.
    pub(super) fn secret(&self) -> Result<String, String> {
        if self.kind.runtime().is_none() {
            return Ok(SECRET.to_owned());
        }
        let secret = read_secret(self.dir.path(), SHOPPER_SECRET_FILE).map_err(|error| error.to_string())?;
        secret.map(|secret| secret.expose().to_owned()).ok_or_else(|| "the mall has no secret".to_owned())
    }

    /// Its name as a file name.
    pub(super) fn file_name(&self) -> String {
        self.kind.name().replace([',', '+'], "").split_whitespace().collect::<Vec<_>>().join("-").to_lowercase()
    }

    pub(super) fn mall(&self) -> Mall {
        Mall::new(std::slice::from_ref(&self.gateway), &self.order_core, &self.admin)
    }

    /// A new sale.
    pub(super) fn create_sale(&self, run: u32, stock: u32) -> Result<ActivityId, String> {
        if self.kind.runtime().is_some() {
            let mut mall = self.mall();
            mall.wait_ready()?;
            let password = read_secret(self.dir.path(), ADMIN_PASSWORD_FILE).map_err(|error| error.to_string())?;
            mall.sign_in(password.ok_or("the mall has no password")?.expose(), "its data directory")?;
            let activity = mall.create_sale(run, stock)?;
            mall.wait_open(activity)?;
            return Ok(activity);
        }
        let id = i64::try_from(SystemClock.now_ms()).ok().and_then(ActivityId::from_i64).ok_or("the clock is wrong")?;
        let body = json!({ "activity_id": id.as_i64(), "stock": stock }).to_string();
        let answer =
            ureq::post(format!("{}/sales", self.gateway)).header("Content-Type", "application/json").send(body);
        answer.map_err(|error| format!("{}: {error}", self.gateway))?;
        Ok(id)
    }
}

fn is_ready(gateway: &str) -> bool {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2)));
    config.build().new_agent().get(format!("{gateway}/readyz")).call().is_ok()
}

fn pin(pid: u32) {
    let pinned = Command::new("taskset").args(["-acp", SERVER_CORE, &pid.to_string()]).stdout(Stdio::null()).status();
    // A process that has ended needs no core.
    drop(pinned);
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn signal(pid: u32) {
    drop(Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status());
}
