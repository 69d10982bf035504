//! The logs of a process, which can be opened once.

use foundation::{config, logs};

#[test]
fn a_file_of_json_lines() {
    let random = foundation::data_dir::random_hex(8).unwrap();
    let directory = std::env::temp_dir().join(format!("mall-foundation-logs-{random}"));
    let env = [
        ("MALL_LOG__FORMAT", "json"),
        ("MALL_LOG__LEVEL", "info,quiet=warn"),
        ("MALL_LOG__DIRECTORY", directory.to_str().unwrap()),
    ];
    let config = config::load(None, env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
    let guard = logs::init(&config.log).unwrap();
    tracing::info!(order_id = 7, "made");
    tracing::debug!("not shown");
    tracing::info!(target: "quiet", "not shown");
    drop(guard);
    assert!(logs::init(&config.log).is_err());

    let files: Vec<_> = std::fs::read_dir(&directory).unwrap().collect::<Result<_, _>>().unwrap();
    let [file] = files.as_slice() else { panic!("one file, not {files:?}") };
    let text = std::fs::read_to_string(file.path()).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [line] = lines.as_slice() else { panic!("one line, not {text}") };
    assert_eq!((&line["message"], &line["order_id"], &line["level"]), (&"made".into(), &7.into(), &"INFO".into()));
    std::fs::remove_dir_all(directory).unwrap();
}
