use std::path::Path;

use super::*;

const PATH: &str = "mall.yaml";

fn loaded(yaml: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load((!yaml.is_empty()).then_some((PATH, yaml)), env)
}

fn refused(yaml: &str, env: &[(&str, &str)], expect: &str) {
    let found = loaded(yaml, env).map(|_| "accepted").map_err(|error| error.to_string());
    assert_eq!(found, Err(expect.to_owned()), "{yaml} {env:?}");
}

fn refused_for(env: &[(&str, &str)], part: &str) {
    let found = loaded("", env).map_err(|error| error.to_string()).unwrap_err();
    assert!(found.contains(part), "{env:?}: {found}");
}

#[test]
fn defaults_are_good() {
    let config = loaded("", &[("PATH", "/bin"), ("MALL_CONFIG", "x"), ("MALLET", "1")]).unwrap();
    assert_eq!(config.gateway.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.order_core.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8082");
    assert_eq!(config.orders.pay_within, Duration::from_secs(1800));
    assert_eq!(config.auth.bcrypt_cost, 12);
    assert_eq!(config.answer_after, AnswerAfter::Script);
    assert_eq!(config.gateway.threads, None);
    assert_eq!(config.gateway.client_rate, None);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(loaded("# nothing\n", &[]).unwrap(), config);
    assert_eq!(loaded("gateway:\n  # listen: 1\n", &[]).unwrap(), config);
}

#[test]
fn new_sales_answer_after_what_the_settings_say() {
    let yaml = "ledger:\n  answer_after: script\n";
    assert_eq!(loaded(yaml, &[("MALL_LEDGER__ANSWER_AFTER", "log")]).unwrap().answer_after, AnswerAfter::Log);
    refused_for(&[("MALL_LEDGER__ANSWER_AFTER", "never")], "expected script or log, found \"never\"");
}

#[test]
fn the_environment_wins_over_the_file() {
    let yaml = "data_dir: /srv/mall\ngateway:\n  threads: 3\n  listen: 0.0.0.0:80\n";
    let config = loaded(yaml, &[("MALL_GATEWAY__THREADS", "2"), ("MALL_GATEWAY__USER_RATE_PER_S", "9")]).unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/mall"));
    assert_eq!(config.gateway.listen.to_string(), "0.0.0.0:80");
    assert_eq!(config.gateway.threads.map(NonZeroUsize::get), Some(2));
    let proxies = loaded("", &[("MALL_TRUSTED_PROXIES", "10.0.0.0/8, ::1")]).unwrap().trusted_proxies;
    assert_eq!(proxies, "10.0.0.0/8,::1".parse().unwrap());
    assert_eq!(config.gateway.user_rate.map(|rate| (rate.per_s.get(), rate.burst.get())), Some((9, 200)));
}

#[test]
fn text_of_digits_stays_text_and_is_never_shown() {
    let config = loaded("", &[("MALL_ADMIN_PASSWORD", "007"), ("MALL_AUTH__SHOPPER_SECRET", "1e3")]).unwrap();
    assert_eq!(config.admin_password.as_ref().map(Secret::expose), Some("007"));
    assert_eq!(config.auth.shopper_secret.as_ref().map(Secret::expose), Some("1e3"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("007") && !shown.contains("1e3"), "{shown}");
    assert_eq!(config.warnings.len(), 1);
    refused(
        "admin_password: 7654\n",
        &[],
        "mall.yaml: admin_password: expected text, found a number; put it in quotes",
    );
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let unknown = |source: &str, nearest: &str| format!("{source}: there is no such setting; did you mean {nearest}?");
    refused("gatewy:\n  listen: x\n", &[], &unknown("mall.yaml: gatewy", "data_dir"));
    refused("gateway:\n  lisen: x\n", &[], &unknown("mall.yaml: gateway.lisen", "gateway.listen"));
    refused("gateway:\n  listen:\n    port: 1\n", &[], "mall.yaml: gateway.listen: expected text, found a section");
    refused("", &[("MALL_GATEWAY__LISEN", "x")], &unknown("MALL_GATEWAY__LISEN", "MALL_GATEWAY__LISTEN"));
    refused("", &[("MALL_GATEWAY_LISTEN", "x")], &unknown("MALL_GATEWAY_LISTEN", "MALL_GATEWAY__LISTEN"));
    refused("", &[("MALL_ADMIN_PASWORD", "x")], &unknown("MALL_ADMIN_PASWORD", "MALL_ADMIN_PASSWORD"));
}

#[test]
fn variables_of_kubernetes_are_ignored() {
    let injected = [
        ("MALL_SERVICE_HOST", "10.0.0.1"),
        ("MALL_SERVICE_PORT", "8080"),
        ("MALL_SERVICE_PORT_HTTP", "8080"),
        ("MALL_PORT", "tcp://10.0.0.1:8080"),
        ("MALL_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("MALL_PORT_8080_TCP_PROTO", "tcp"),
        ("MALL_PORT_8080_TCP_PORT", "8080"),
        ("MALL_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("MALL_ORDER_CORE_PORT_8081_TCP_ADDR", "10.0.0.1"),
    ];
    let injected = injected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(load(None, injected.into_iter()), load(None, std::iter::empty()));
}

#[test]
fn listen_addresses_may_leave_out_the_host() {
    for (text, expect) in [("localhost:8080", "127.0.0.1:8080"), (":8080", "[::]:8080"), ("[::1]:8080", "[::1]:8080")] {
        let env = [("MALL_GATEWAY__LISTEN".to_owned(), text.to_owned())];
        assert_eq!(load(None, env.into_iter()).unwrap().gateway.listen, expect.parse().unwrap(), "{text}");
    }
}

#[test]
fn wrong_values_are_named_with_their_source() {
    refused("", &[("MALL_GATEWAY__THREADS", "two")], "MALL_GATEWAY__THREADS: expected a whole number, found \"two\"");
    refused("", &[("MALL_GATEWAY__THREADS", "-1")], "MALL_GATEWAY__THREADS: expected a whole number, found \"-1\"");
    refused("", &[("MALL_AUTH__BCRYPT_COST", "3")], "MALL_AUTH__BCRYPT_COST: expected 4 to 31, found 3");
    refused("auth:\n  bcrypt_cost: 99\n", &[], "mall.yaml: auth.bcrypt_cost: expected 4 to 31, found 99");
    refused("gateway: 8080\n", &[], "mall.yaml: gateway: expected a section with settings, found a number");
    refused("- gateway\n", &[], "mall.yaml: expected a section with settings, found a list");
    refused("log:\n  format: xml\n", &[], "mall.yaml: log.format: expected pretty or json, found \"xml\"");
    refused(
        "",
        &[("MALL_ADMIN__LISTEN", "8082")],
        "MALL_ADMIN__LISTEN: expected address:port such as 127.0.0.1:8080, found \"8082\"",
    );
    refused(
        "",
        &[("MALL_TRUSTED_PROXIES", "10.0.0.0/8,lb")],
        "MALL_TRUSTED_PROXIES: expected networks such as 127.0.0.1,10.0.0.0/8, found \"10.0.0.0/8,lb\"",
    );
    refused("", &[("MALL_LIMITS__READ_MAX", "-1")], "MALL_LIMITS__READ_MAX: expected a whole number, found \"-1\"");
    refused("limits:\n  window_ms: 1\n", &[], "mall.yaml: limits.window_ms: expected 1000 to 3600000, found 1");
    refused(
        "",
        &[("MALL_IMAGES__OSS_ENDPOINT", "https://oss.example")],
        "MALL_IMAGES__OSS_ENDPOINT: it goes together with oss_bucket, oss_access_key_id and oss_access_key_secret: all \
         of them, or none",
    );
    refused("", &[("MALL_DATA_DIR", "")], "MALL_DATA_DIR: expected a path, found nothing");
    refused(
        "",
        &[("MALL_AUTH__SHOPPER_SECRET", "same"), ("MALL_AUTH__ADMIN_SECRET", "same")],
        "MALL_AUTH__ADMIN_SECRET: it is the same as auth.shopper_secret; shoppers would be admins",
    );
    refused(
        "orders:\n  pay_within_ms: 1.5\n",
        &[("MALL_ORDERS__PAY_WITHIN_MS", "x")],
        "mall.yaml: orders.pay_within_ms: expected a whole number, found a number\n\
         MALL_ORDERS__PAY_WITHIN_MS: expected a whole number, found \"x\"",
    );
}

#[test]
fn a_file_that_is_no_yaml_is_one_line() {
    for yaml in ["gateway: [", "a: 1\na: 2\n", "gateway:\n\tlisten: x\n"] {
        let error = loaded(yaml, &[]).unwrap_err().to_string();
        assert!(error.starts_with("mall.yaml: ") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn backends_are_named_by_addresses() {
    let config = loaded(
        "",
        &[
            ("MALL_REDIS__URL", "redis://:word@127.0.0.1:6379/2"),
            ("MALL_DATABASE__URL", "mysql://mall:word@127.0.0.1/mall"),
            ("MALL_KAFKA__BROKERS", "127.0.0.1:9092"),
            ("MALL_KAFKA__REPLICATION", "3"),
        ],
    );
    let config = config.unwrap();
    assert_eq!(config.redis.unwrap().url.expose(), "redis://:word@127.0.0.1:6379/2");
    assert_eq!(config.database.url.unwrap().expose(), "mysql://mall:word@127.0.0.1/mall?ssl-mode=DISABLED");
    let kafka = config.kafka.unwrap();
    assert_eq!((kafka.brokers.as_str(), kafka.replication), ("127.0.0.1:9092", Some(3)));
    // What may hold a password is not shown.
    let expected = "MALL_REDIS__URL: expected an address that begins with redis:// or rediss://";
    refused("", &[("MALL_REDIS__URL", "http://:word@host")], expected);
    let expected = "MALL_DATABASE__URL: expected an address that begins with sqlite:// or mysql://";
    refused("", &[("MALL_DATABASE__URL", "postgres://:word@host")], expected);
    refused(
        "",
        &[("MALL_SEARCH__URL", "ftp://127.0.0.1")],
        "MALL_SEARCH__URL: expected an address that begins with https:// or http://",
    );
    for name in ["MALL_REDIS__URL", "MALL_DATABASE__URL", "MALL_KAFKA__BROKERS", "MALL_SEARCH__URL"] {
        assert!(loaded("", &[(name, "")]).is_ok());
    }
}

#[test]
fn the_mock_is_off_beside_alipay_and_beyond_loopback() {
    let alipay = [
        ("MALL_PAYMENTS__ALIPAY_APP_ID", "1"),
        ("MALL_PAYMENTS__ALIPAY_SELLER_ID", "2"),
        ("MALL_PAYMENTS__ALIPAY_GATEWAY", "https://alipay.example"),
        ("MALL_PAYMENTS__ALIPAY_PRIVATE_KEY", "private.pem"),
        ("MALL_PAYMENTS__ALIPAY_PUBLIC_KEY", "public.pem"),
        ("MALL_PUBLIC_URL", "https://shop.example"),
    ];
    let without = [alipay[0], alipay[1], alipay[2], alipay[3], alipay[4]];
    refused("", &without, "public_url: Alipay needs it: notices and buyers come to this address");
    let everywhere = [("MALL_ORDER_CORE__LISTEN", "0.0.0.0:8081")];
    let check = |yaml: &str, env: &[(&str, &str)], more: &[(&str, &str)], is_on: bool, warnings: usize| {
        let config = loaded(yaml, &[env, more].concat()).unwrap();
        assert_eq!(matches!(config.payments.mock, MockConfig::On { .. }), is_on, "{yaml} {env:?} {more:?}");
        // Those of addresses have a test of their own.
        let of_the_mock = config.warnings.iter().filter(|warning| !warning.contains("LISTEN: "));
        assert_eq!(of_the_mock.count(), warnings, "{yaml} {env:?} {more:?}: {:?}", config.warnings);
    };
    for listen in ["127.0.0.1:0", "127.8.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        check("", &[("MALL_ORDER_CORE__LISTEN", listen)], &[], true, 0);
    }
    for listen in ["0.0.0.0:1", "[::]:1", "10.0.0.7:1", "[::ffff:10.0.0.7]:1"] {
        check("", &[("MALL_ORDER_CORE__LISTEN", listen)], &[], false, 0);
    }
    let (on, off) = (("MALL_PAYMENTS__MOCK", "true"), ("MALL_PAYMENTS__MOCK", "false"));
    check("", &alipay, &[], false, 0);
    check("", &[], &[off], false, 0);
    check("", &[], &[("MALL_PAYMENTS__MOCK", "")], true, 0);
    check("", &[], &[on], true, 0);
    check("", &alipay, &[on], true, 1);
    check("", &everywhere, &[on], true, 1);
    check("payments:\n  mock: true\n", &everywhere, &[], true, 1);
    check("payments:\n  mock: true\n", &everywhere, &[off], false, 0);
    check("payments:\n  mock: false\n", &[], &[], false, 0);
    check("payments:\n  mock:\n", &[], &[], true, 0);
    // The setting of earlier versions still works, with a warning.
    check("", &[], &[("MALL_PAYMENTS__MOCK_RETRY_MS", "0")], false, 1);
    check("payments:\n  mock_retry_ms: 0\n", &[], &[off], false, 1);
    check("", &[], &[("MALL_PAYMENTS__MOCK_RETRY_MS", "7")], true, 0);
    refused("", &[("MALL_PAYMENTS__MOCK", "1")], "MALL_PAYMENTS__MOCK: expected true or false, found \"1\"");
    refused("payments:\n  mock: \"true\"\n", &[], "mall.yaml: payments.mock: expected true or false, found text");
    refused(
        "",
        &[on, ("MALL_PAYMENTS__MOCK_RETRY_MS", "0")],
        "MALL_PAYMENTS__MOCK: true contradicts MALL_PAYMENTS__MOCK_RETRY_MS: 0, which turns the mock off",
    );
}

#[test]
fn runtimes() {
    let runtime =
        |env: &[(&str, &str)]| loaded("gateway:\n  runtime: glommio\n", env).map(|config| config.gateway.runtime);
    assert_eq!(loaded("", &[]).unwrap().gateway.runtime, Runtime::Monoio);
    assert_eq!(runtime(&[]).unwrap(), Runtime::Glommio);
    assert_eq!(runtime(&[("MALL_GATEWAY__RUNTIME", "may")]).unwrap(), Runtime::May);
    assert_eq!(runtime(&[("MALL_GATEWAY__RUNTIME", "monoio"), ("--runtime", "may")]).unwrap(), Runtime::May);
    refused("", &[("--runtime", "tokio")], "--runtime: expected monoio, glommio or may, found \"tokio\"");
    let anywhere = [("--runtime", "may"), ("MALL_GATEWAY__LISTEN", "0.0.0.0:80")];
    let expected = "MALL_GATEWAY__LISTEN: on may the gateway listens on loopback only; \
                    gateway.may_listens_anywhere_without_limits: true lets it";
    refused("", &anywhere, expected);
    let said = [anywhere[0], anywhere[1], ("MALL_GATEWAY__MAY_LISTENS_ANYWHERE_WITHOUT_LIMITS", "true")];
    assert_eq!(loaded("", &said).unwrap().gateway.listen.port(), 80);
    assert!(loaded("", &[anywhere[1]]).is_ok());
}

#[test]
fn a_process_that_others_reach_drains_before_it_stops() {
    let drain = |env: &[(&str, &str)]| loaded("", env).unwrap().shutdown.drain.as_millis();
    assert_eq!(drain(&[]), 0);
    assert_eq!(drain(&[("MALL_ADMIN__LISTEN", "0.0.0.0:8082")]), 5_000);
    assert_eq!(drain(&[("MALL_ADMIN__LISTEN", "0.0.0.0:8082"), ("MALL_SHUTDOWN__DRAIN_MS", "0")]), 0);
    assert_eq!(loaded("shutdown:\n  drain_ms: 70\n", &[]).unwrap().shutdown.drain.as_millis(), 70);
    refused("", &[("MALL_SHUTDOWN__DRAIN_MS", "60000")], "MALL_SHUTDOWN__DRAIN_MS: expected 0 to 10000, found 60000");
    refused("", &[("MALL_SHUTDOWN__DRAIN_MS", "no")], "MALL_SHUTDOWN__DRAIN_MS: expected a whole number, found \"no\"");
    refused("shutdown:\n  drain_ms: soon\n", &[], "mall.yaml: shutdown.drain_ms: expected a whole number, found text");
}

#[test]
fn spans_are_exported_to_a_collector_that_is_set() {
    let url = "MALL_TRACING__OTLP_URL";
    assert_eq!(loaded("", &[]).unwrap().tracing, None);
    assert_eq!(loaded("", &[(url, "http://[::1]:4318")]).unwrap().tracing.unwrap().sampled_per_million, 10_000);
    let other_host = (url, "http://collector:4318");
    refused_for(&[other_host], "MALL_TRACING__OTLP_URL: the connection to collector would not be encrypted");
    assert!(loaded("", &[other_host, ("MALL_TRACING__ALLOW_PLAINTEXT", "true")]).unwrap().tracing.is_some());
    refused_for(&[(url, "grpc://127.0.0.1:4317")], "expected an address that begins with http://");
    refused_for(&[("MALL_TRACING__SAMPLED_PER_MILLION", "1000001")], "expected 0 to 1000000, found 1000001");
}

#[test]
fn metrics_are_served_on_loopback_unless_set_otherwise() {
    let listen = |env: &[(&str, &str)]| loaded("", env).unwrap().metrics_listen;
    assert_eq!(listen(&[]), MetricsListen::Default);
    assert_eq!(listen(&[("MALL_METRICS__LISTEN", "off")]), MetricsListen::Off);
    let address = "0.0.0.0:9464";
    assert_eq!(listen(&[("MALL_METRICS__LISTEN", address)]), MetricsListen::At(address.parse().unwrap()));
    let expect = "MALL_METRICS__LISTEN: expected off, or address:port such as 127.0.0.1:9464, found \"on\"";
    refused("", &[("MALL_METRICS__LISTEN", "on")], expect);
}

#[test]
fn settings_are_shown_with_their_source_and_without_secrets() {
    let env = [
        ("MALL_ADMIN_PASSWORD", "hunter2-hunter2"),
        ("MALL_REDIS__URL", "rediss://:pa55word@r/"),
        ("MALL_LOG__LEVEL", "warn"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (_, shown) =
        super::load_and_show(Some(("mall.yaml", "admin: {listen: '127.0.0.1:7'}")), env.into_iter()).unwrap();
    let of = |key: &str| shown.iter().find(|setting| setting.key == key).unwrap();
    assert_eq!(
        (of("admin.listen").value.as_deref(), of("admin.listen").source.as_deref()),
        (Some("127.0.0.1:7"), Some("mall.yaml: admin.listen"))
    );
    assert_eq!(of("log.level").source.as_deref(), Some("MALL_LOG__LEVEL"));
    assert_eq!((of("gateway.listen").source.as_deref(), of("gateway.listen").is_secret), (None, false));
    assert!(of("redis.url").is_secret && of("redis.url").value.is_some() && of("database.url").value.is_none());
    let all = format!("{shown:?}");
    assert!(!all.contains("hunter2") && !all.contains("pa55word"), "{all}");
}

#[test]
fn other_hosts_are_reached_over_tls_unless_that_is_said() {
    for (name, plain, secure) in [
        ("MALL_REDIS__URL", "redis://:word@redis.test:6379", "rediss://:word@redis.test:6379"),
        ("MALL_SEARCH__URL", "http://ada:word@10.0.0.1", "https://ada:word@10.0.0.1"),
        ("MALL_DATABASE__URL", "mysql://mall:word@db.test/mall?ssl-mode=REQUIRED", "mysql://mall:word@db.test/mall"),
    ] {
        let allow = name.replace("URL", "ALLOW_PLAINTEXT");
        refused_for(&[(name, plain)], "would not be encrypted and verified; use ");
        loaded("", &[(name, plain), (&allow, "true")]).unwrap();
        loaded("", &[(name, secure)]).unwrap();
    }
    let brokers = ("MALL_KAFKA__BROKERS", "127.0.0.1:9092,kafka.test:9092");
    refused_for(&[brokers], "the connection to kafka.test would not be encrypted");
    loaded("", &[brokers, ("MALL_KAFKA__ALLOW_PLAINTEXT", "true")]).unwrap();
    loaded("", &[brokers, ("MALL_KAFKA__SECURITY_PROTOCOL", "ssl")]).unwrap();
    for here in ["redis://localhost", "redis://[::1]:6379", "redis://127.8.9.1/1", "redis://:word@LOCALHOST:1"] {
        loaded("", &[("MALL_REDIS__URL", here)]).unwrap();
    }
}

#[test]
fn a_mysql_is_verified_as_its_settings_say() {
    let url = |more: &[(&str, &str)]| {
        let all = [&[("MALL_DATABASE__URL", "mysql://mall:word@db.test/mall")], more].concat();
        loaded("", &all).unwrap().database.url.unwrap().expose().rsplit_once('?').unwrap().1.to_owned()
    };
    assert_eq!(url(&[]), "ssl-mode=VERIFY_IDENTITY");
    assert_eq!(url(&[("MALL_DATABASE__ALLOW_PLAINTEXT", "true")]), "ssl-mode=DISABLED");
    assert_eq!(url(&[("MALL_DATABASE__CA_FILE", "/a b.pem")]), "ssl-mode=VERIFY_IDENTITY&ssl-ca=/a%20b.pem");
    let own =
        [("MALL_DATABASE__URL", "mysql://a@db.test/m?ssl-mode=VERIFY_IDENTITY"), ("MALL_DATABASE__CA_FILE", "/ca")];
    refused_for(&own, "MALL_DATABASE__CA_FILE: it needs a database.url without ssl-mode=");
}

#[test]
fn kafka_asks_for_a_whole_login() {
    let brokers = ("MALL_KAFKA__BROKERS", "kafka.test:9092");
    let protocol = ("MALL_KAFKA__SECURITY_PROTOCOL", "sasl_ssl");
    refused_for(&[brokers, protocol], "kafka.sasl_username and kafka.sasl_password are needed");
    let login = [("MALL_KAFKA__SASL_USERNAME", "mall"), ("MALL_KAFKA__SASL_PASSWORD", "word")];
    let config = loaded("", &[brokers, protocol, login[0], login[1]]).unwrap();
    let security = config.kafka.unwrap().security;
    assert!(security.tls);
    assert_eq!(security.sasl.unwrap().mechanism, "SCRAM-SHA-512");
    refused_for(&[brokers, login[0], login[1]], "it needs the kafka.security_protocol");
    refused_for(&[("MALL_KAFKA__SECURITY_PROTOCOL", "tls")], "expected plaintext, ssl, sasl_plaintext or sasl_ssl");
    refused_for(&[("MALL_KAFKA__SASL_MECHANISM", "GSSAPI")], "expected PLAIN, SCRAM-SHA-256, SCRAM-SHA-512");
}

#[test]
fn short_secrets_are_refused_where_other_hosts_can_connect() {
    for (name, short, long) in [
        ("MALL_AUTH__SHOPPER_SECRET", "31 bytes are not enough for it", "32 bytes are enough for a secret"),
        ("MALL_AUTH__ADMIN_SECRET", "s", "32 bytes are enough for a secret"),
        ("MALL_ADMIN_PASSWORD", "11 bytes..!", "12 bytes...!"),
    ] {
        for service in ["MALL_GATEWAY__LISTEN", "MALL_ORDER_CORE__LISTEN", "MALL_ADMIN__LISTEN"] {
            let listen = (service, "0.0.0.0:80");
            refused_for(&[listen, (name, short)], "bytes where a service listens beyond loopback");
            loaded("", &[listen, (name, long)]).unwrap();
        }
        loaded("", &[(name, short)]).unwrap();
    }
}

#[test]
fn money_and_pictures_go_over_https() {
    let alipay = [
        ("MALL_PAYMENTS__ALIPAY_APP_ID", "1"),
        ("MALL_PAYMENTS__ALIPAY_SELLER_ID", "2"),
        ("MALL_PAYMENTS__ALIPAY_PRIVATE_KEY", "private"),
        ("MALL_PAYMENTS__ALIPAY_PUBLIC_KEY", "public"),
        ("MALL_PUBLIC_URL", "https://shop.example"),
    ];
    let images = [
        ("MALL_IMAGES__OSS_BUCKET", "b"),
        ("MALL_IMAGES__OSS_ACCESS_KEY_ID", "i"),
        ("MALL_IMAGES__OSS_ACCESS_KEY_SECRET", "s"),
    ];
    for (name, rest) in [("MALL_PAYMENTS__ALIPAY_GATEWAY", &alipay[..]), ("MALL_IMAGES__OSS_ENDPOINT", &images)] {
        let with = |url| [rest, &[(name, url)]].concat();
        refused_for(&with("http://pay.test/gateway"), "expected an address that begins with https://");
        loaded("", &with("https://pay.test/gateway")).unwrap();
        loaded("", &with("http://127.0.0.1:8090/gateway")).unwrap();
    }
}

/// Deployments that set a key by its old name go on.
#[test]
fn an_old_name_still_works_and_warns() {
    let env = [("MALL_PAYMENTS__PUBLIC_URL", "https://shop.example/")].map(|(name, value)| (name.into(), value.into()));
    let config = load(None, env.into_iter()).unwrap();
    assert_eq!(config.payments.public_url.as_deref(), Some("https://shop.example"));
    let warning = "MALL_PAYMENTS__PUBLIC_URL: this setting is called public_url now; the old name still works";
    assert_eq!(config.warnings, [warning]);
    let file = "payments:\n  public_url: https://shop.example\n";
    let env = [("MALL_PUBLIC_URL".to_owned(), "https://other.example".to_owned())];
    let config = load(Some(("mall.yaml", file)), env.into_iter()).unwrap();
    assert_eq!(config.payments.public_url.as_deref(), Some("https://other.example"));
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn a_service_on_every_address_is_warned_of() {
    let warnings = |env: &[(&str, &str)]| loaded("", env).unwrap().warnings;
    let secrets = [
        ("MALL_AUTH__SHOPPER_SECRET", "a secret of shoppers, 32 bytes long"),
        ("MALL_AUTH__ADMIN_SECRET", "a secret of the admins, 32 bytes long"),
    ];
    let with = |env: &[(&'static str, &'static str)]| warnings(&[&secrets[..], env].concat());
    assert_eq!(with(&[("MALL_ORDER_CORE__LISTEN", "192.0.2.1:80")]), Vec::<String>::new());
    assert_eq!(
        with(&[("MALL_ORDER_CORE__LISTEN", ":8081"), ("MALL_ADMIN__LISTEN", "[::]:8082")]),
        [
            "MALL_ORDER_CORE__LISTEN: [::]:8081 is every network of this host; name one address, or filter them",
            "MALL_ADMIN__LISTEN: [::]:8082 is every network of this host; name one address, or filter them",
            "MALL_ORDER_CORE__LISTEN: links to the shop would name it; set public_url",
        ]
    );
    let named = [("MALL_ORDER_CORE__LISTEN", "0.0.0.0:80"), ("MALL_PUBLIC_URL", "https://shop.example")];
    assert_eq!(with(&named).len(), 1);
}
