//! Answers that are lost between a gateway and nginx.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use services::Listen;

use super::start_before;
use crate::process::{Mall, agent, call, token};

/// Users at most; nginx leaves a gateway that failed twice alone for a second.
const USERS_MAX: i64 = 400;
const PAUSE: Duration = Duration::from_millis(20);
/// Answers that are lost with a key, and as many without one.
const LOST: usize = 2;

/// A gateway that dies after each request: it passes the request on to `gateway` and closes without an answer.
/// Its address, and how many requests it had.
fn loser(gateway: &str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (gateway, count) = (gateway.trim_start_matches("http://").to_owned(), Arc::<AtomicUsize>::default());
    let counted = count.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut reader = BufReader::new(client.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let start = head.len();
                if reader.read_line(&mut head).unwrap() == 0 {
                    break;
                }
                if let Some(value) = head[start..].to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let mut socket = TcpStream::connect(&gateway).unwrap();
            // The gateway closes after its answer, so reading to the end waits until it has decided.
            let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            socket.write_all(&[head.as_bytes(), &body].concat()).unwrap();
            drop(socket.read_to_end(&mut Vec::new()));
        }
    });
    (address, count)
}

#[test]
fn a_lost_answer_is_asked_for_again_only_with_a_key() {
    let data = tempfile::tempdir().unwrap();
    let mall = Mall::start(data.path(), &[]);
    let (dying, count) = loser(&mall.gateway);
    let Some(front) = start_before(&[&dying, &mall.gateway], &mall, "limits-off.conf", Listen::Plain) else { return };
    let place = format!("http://{}", front.address());
    // A user who is served twice has two units.
    let sale = mall.sale_with(1000, &json!({ "per_user_limit": 5 }));
    let mut through = mall.clone();
    through.gateway.clone_from(&place);
    let lost = |since: usize| count.load(Ordering::SeqCst) - since;
    let mut users = 1..=USERS_MAX;
    while lost(0) < LOST {
        let user = users.next().unwrap();
        let told = through.buy(&agent(), &sale, user, &format!("k{user}"));
        assert!(matches!(told, Some((202, _))), "user {user} has a key: {told:?}");
        std::thread::sleep(PAUSE);
    }

    let (since, mut statuses) = (lost(0), Vec::new());
    let body = json!({ "activity_id": sale, "quantity": 1 });
    while lost(since) < LOST {
        let user = users.next().unwrap();
        statuses.push(call("POST", &format!("{place}/api/v1/seckill/orders"), Some(&token(user)), &body).0);
        std::thread::sleep(PAUSE);
    }
    assert!(statuses.iter().all(|status| matches!(status, 202 | 502)), "{statuses:?}");
    let told = statuses.iter().filter(|status| **status == 502).count();
    assert_eq!(told, lost(since), "lost answers and those that were reported: {statuses:?}");

    // Every user has one unit, also those whose answer was lost: the request was carried out, and once.
    let held = u64::try_from(users.next().unwrap() - 1).unwrap();
    crate::process::until("every order is written", || mall.try_audit(&sale).1["database"]["pending_payment"] == held);
    assert_eq!(crate::assert_sound(&mall, &sale)["held"], held);
}
