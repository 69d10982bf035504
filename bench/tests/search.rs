//! `bench search` where there is no mall to search: one line, and its exit status.
#![expect(clippy::unwrap_used, reason = "a test may end so, its helpers too")]

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Command,
    thread,
};

fn search(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("search").args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Answers every request with the same bytes.
fn serve(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                let reader = BufReader::new(stream.try_clone().unwrap());
                for line in reader.lines().map_while(Result::ok) {
                    // The end of a head.
                    if line.is_empty() && stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[test]
fn what_cannot_be_searched_is_one_line() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let html = serve("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: text/html\r\n\r\n<html>");
    let away = serve(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 36\r\n\r\n{\"detail\":\"there is no index yet\" }  ",
    );
    for (args, part) in [
        (vec!["--queries", "/nowhere/queries"], "/nowhere/queries: No such file"),
        (vec!["--order-core", &closed], "refused"),
        (vec!["--order-core", &html], "is this order-core?"),
        (vec!["--order-core", &away], "503: there is no index yet"),
        (vec!["--order-core", "http://no-such-host.invalid"], "no-such-host.invalid"),
        (vec!["--rate", "1000000", "--duration", "1000m"], "--rate and --duration"),
    ] {
        let (code, out, err) = search(&args);
        assert_eq!((code, &*out, err.lines().count()), (2, "", 1), "{args:?}: {err}");
        assert!(err.starts_with("bench: ") && err.contains(part), "{args:?}: {err}");
    }
    assert_eq!(search(&["--help"]).0, 0);
}

#[test]
fn refusals_are_counted_by_status() {
    let refusing = serve("HTTP/1.1 422 Unprocessable\r\nContent-Length: 2\r\n\r\n{}");
    let (code, out, err) = search(&["--order-core", &refusing, "--rate", "100", "--duration", "200ms"]);
    assert_eq!((code, &*err), (1, ""), "{out}");
    assert!(out.contains("422: 20") && out.contains("20 searches at 100 a second"), "{out}");
}
