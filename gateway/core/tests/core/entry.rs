//! Who is let in: pauses, lists, tickets, challenges.

use std::sync::Arc;

use contract::{
    activity::{Admission, Door, Entry, EntryRule},
    snowflake::{EPOCH_MS, first_at_ms},
};
use gateway_core::{CHALLENGE_MS, Captcha, Config, Control, Next, TICKET_MS};

use crate::world::{Answer, HOUR_MS, RULES, START_MS, World, activity, buy, get, get_as, post, post_to, user};

/// A sale of ten units that lets in as `admission` says.
fn world(admission: Admission) -> World {
    let mut world = World::new(10);
    admit(&mut world, 2, admission);
    world
}

fn admit(world: &mut World, version: u64, admission: Admission) {
    let mut changed = activity(1, RULES);
    (changed.version, changed.admission) = (version, admission);
    world.control(Control::Activity(changed));
}

fn door(door: Door) -> Admission {
    Admission { door, ..Admission::default() }
}

fn rule(world: &mut World, id: i64, version: u64, entry: Entry) {
    let rule = EntryRule { activity: activity(1, RULES).id, user: user(id), version, entry };
    world.control(Control::EntryRules(Arc::from([rule])));
}

const TICKETS: &str = "/api/v1/seckill/activities/1/tickets";
const CHALLENGE: &str = "/api/v1/seckill/activities/1/challenge";

fn ticket(world: &mut World, id: i64, body: &str) -> Answer {
    world.ask(post_to(TICKETS, id, "", body))
}

fn given(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

fn buy_with(id: i64, ticket: &str) -> String {
    post(id, "Idempotency-Key: a\r\n", &format!(r#"{{"activity_id":"1","quantity":1,"ticket":"{ticket}"}}"#))
}

fn paint(world: &mut World, answers: &[&str]) {
    let captcha = |answer: &&str| Captcha { image: Arc::from(answer.as_bytes()), answer: (*answer).to_owned() };
    world.control(Control::Captchas(answers.iter().map(captcha).collect()));
    world.control(Control::Captchas(Vec::new()));
}

#[test]
fn a_paused_sale_answers_503_until_it_goes_on() {
    let mut world = world(Admission::default());
    let first = world.ask(buy(1, "a"));
    admit(&mut world, 3, Admission { paused: true, ..Admission::default() });
    for id in [1, 2] {
        let refused = world.ask(buy(id, "a"));
        assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("paused", "1"));
    }
    let shown = |world: &mut World| world.ask(get("/api/v1/seckill/activities/1", "")).json()["state"].clone();
    assert_eq!(shown(&mut world), "paused");
    admit(&mut world, 4, Admission::default());
    assert_eq!(shown(&mut world), "open");
    assert_eq!(world.ask(buy(1, "a")), first, "a repeat has its first answer again");
    world.ask(buy(2, "a")).order();
    admit(&mut world, 5, Admission { paused: true, ..Admission::default() });
    world.pass(HOUR_MS);
    assert_eq!(shown(&mut world), "ended");
    assert_eq!(world.ask(buy(3, "a")).code(), "ended");
}

#[test]
fn lists_say_who_may_and_who_may_not() {
    let mut world = world(Admission::default());
    rule(&mut world, 2, 1, Entry::Blocked);
    assert_eq!(world.ask(buy(2, "a")).code(), "not_eligible");
    world.ask(buy(1, "a")).order();
    rule(&mut world, 2, 3, Entry::Unlisted);
    rule(&mut world, 2, 2, Entry::Blocked);
    world.ask(buy(2, "a")).order();

    admit(&mut world, 3, Admission { invited_only: true, ..Admission::default() });
    assert_eq!(world.ask(buy(3, "a")).code(), "not_eligible");
    rule(&mut world, 3, 1, Entry::Allowed);
    world.ask(buy(3, "a")).order();
    rule(&mut world, 3, 2, Entry::Blocked);
    assert_eq!(ticket(&mut world, 3, "").code(), "not_eligible");
}

/// A user's id has the time of the registration in it.
#[test]
fn a_sale_may_be_for_users_who_registered_before_a_time() {
    let before_ms = EPOCH_MS + 1_000;
    let mut world = world(Admission { registered_before_ms: Some(before_ms), ..Admission::default() });
    let (old, new) = (first_at_ms(before_ms) - 1, first_at_ms(before_ms));
    world.ask(buy(old, "a")).order();
    assert_eq!(world.ask(buy(new, "a")).code(), "not_eligible");
    assert_eq!(ticket(&mut world, new, "").code(), "not_eligible");
    rule(&mut world, new, 1, Entry::Allowed);
    world.ask(buy(new, "a")).order();
    rule(&mut world, old, 1, Entry::Blocked);
    assert_eq!(world.ask(buy(old, "a")).code(), "not_eligible");
    admit(&mut world, 3, Admission::default());
    world.ask(buy(new + 1, "a")).order();
}

#[test]
fn a_rule_may_come_before_its_sale_and_more_than_fit_let_nobody_in() {
    let mut world = World::cold(10, RULES, |config: &mut Config| config.board.rules_max = 3);
    rule(&mut world, 7, 1, Entry::Blocked);
    world.control(Control::Activity(activity(1, RULES)));
    world.follow();
    world.control(Control::CaughtUp);
    assert_eq!(world.ask(buy(7, "a")).code(), "not_eligible");
    world.ask(buy(1, "a")).order();
    for id in 10..13 {
        rule(&mut world, id, 1, Entry::Allowed);
    }
    assert_eq!(world.ask(buy(2, "a")).code(), "unavailable");
}

#[test]
fn a_ticket_is_given_from_the_start_on_and_opens_the_door() {
    let mut world = world(door(Door::Ticket));
    assert_eq!(world.ask(get("/api/v1/seckill/activities/1", "")).json()["requires_ticket"], true);
    assert_eq!(world.ask(buy(1, "a")).code(), "ticket_required");
    let answer = ticket(&mut world, 1, "");
    let (mine, header) = (given(&answer), answer.header("cache-control").to_owned());
    assert_eq!((header.as_str(), answer.json()["expires_at"].as_str()), ("no-store", Some("2027-01-15T08:10:00.001Z")));
    for bad in ["", "x", &mine[1..], &given(&ticket(&mut world, 2, "{}"))] {
        assert_eq!(world.ask(buy_with(1, bad)).code(), "ticket_invalid", "{bad}");
    }
    let order = world.ask(buy_with(1, &mine));
    order.order();
    let other = given(&ticket(&mut world, 2, ""));
    world.pass(TICKET_MS);
    assert_eq!(world.ask(buy_with(1, &mine)), order, "a repeat has its first answer, though the ticket is old");
    assert_eq!(world.ask(buy(1, "a")).code(), "ticket_required");
    assert_eq!(world.ask(buy_with(2, &other)).code(), "ticket_invalid", "it has expired");
}

#[test]
fn nobody_enters_before_the_start_or_after_the_end() {
    let mut rules = RULES;
    rules.starts_at_ms = START_MS + 1_000;
    for door in [Door::Open, Door::Ticket, Door::Captcha] {
        let mut world = World::with(10, rules, |_| {});
        let mut known = activity(1, rules);
        (known.version, known.admission.door) = (2, door);
        world.control(Control::Activity(known));
        assert_eq!(ticket(&mut world, 1, "").code(), "not_started");
        assert_eq!(world.ask(get_as(1, CHALLENGE)).code(), "not_started");
        world.pass(HOUR_MS);
        assert_eq!(ticket(&mut world, 1, "").code(), "ended");
    }
}

/// A program that guesses waits twice as long after each wrong answer; other users do not.
#[test]
fn a_wrong_answer_costs_a_doubling_wait() {
    let mut world = world(door(Door::Captcha));
    assert_eq!(world.core.poll_captchas(world.now), Some(512));
    paint(&mut world, &["AB12"; 40]);
    for wait_s in [1_u64, 2, 4, 8, 16, 32, 64, 64] {
        let challenge = world.ask(get_as(1, CHALLENGE)).header("challenge").to_owned();
        let answer = |text: &str| format!(r#"{{"challenge":"{challenge}","answer":"{text}"}}"#);
        assert_eq!(ticket(&mut world, 1, &answer("nope")).code(), "challenge_failed");
        for refused in [world.ask(get_as(1, CHALLENGE)), ticket(&mut world, 1, &answer("AB12"))] {
            let wait = (refused.status, refused.header("retry-after").to_owned());
            assert_eq!(wait, (429, wait_s.to_string()));
        }
        assert_eq!(world.ask(get_as(2, CHALLENGE)).status, 200, "another user");
        world.pass(wait_s * 1_000);
    }
    let challenge = world.ask(get_as(1, CHALLENGE)).header("challenge").to_owned();
    given(&ticket(&mut world, 1, &format!(r#"{{"challenge":"{challenge}","answer":"AB12"}}"#)));
}

#[test]
fn a_challenge_can_be_tried_once_by_whom_it_was_given_to() {
    let mut world = world(door(Door::Captcha));
    let wanted = world.core.poll_captchas(world.now);
    assert_eq!((wanted, world.core.poll_captchas(world.now)), (Some(512), None), "one request at a time");
    assert_eq!(world.ask(get_as(1, CHALLENGE)).code(), "unavailable");
    paint(&mut world, &["AB12", "CD34", "EF56", "GH78"]);
    assert_eq!(ticket(&mut world, 1, "").code(), "challenge_required");
    assert_eq!(world.ask(get(CHALLENGE, "")).code(), "invalid_token");
    let challenge = |world: &mut World, id| {
        let answer = world.ask(get_as(id, CHALLENGE));
        assert_eq!((answer.status, answer.header("content-type")), (200, "image/png"));
        (answer.header("challenge").to_owned(), answer.body)
    };
    let try_it = |world: &mut World, id, challenge: &str, answer: &str| {
        ticket(world, id, &format!(r#"{{"challenge":"{challenge}","answer":"{answer}"}}"#))
    };
    let (first, said) = challenge(&mut world, 1);
    assert_eq!(said, "AB12");
    assert_eq!(try_it(&mut world, 2, &first, "AB12").code(), "challenge_failed", "it is another's");
    // Nobody can use up another's try.
    given(&try_it(&mut world, 1, &first, &said));
    assert_eq!(try_it(&mut world, 1, &first, &said).code(), "challenge_failed", "it was tried");
    world.pass(1_000);
    let (second, said) = challenge(&mut world, 1);
    assert_eq!(try_it(&mut world, 1, &second, "nope").code(), "challenge_failed");
    world.pass(2_000);
    assert_eq!(try_it(&mut world, 1, &second, &said).code(), "challenge_failed", "it was tried");
    world.pass(4_000);
    let (third, said) = challenge(&mut world, 1);
    let ticket = given(&try_it(&mut world, 1, &third, &format!(" {} ", said.to_lowercase())));
    world.ask(buy_with(1, &ticket)).order();
    let (fourth, said) = challenge(&mut world, 3);
    world.pass(CHALLENGE_MS);
    assert_eq!(try_it(&mut world, 3, &fourth, &said).code(), "challenge_failed", "too late");
    assert_eq!(world.ask(get_as(1, CHALLENGE)).code(), "unavailable", "there are no more pictures");
    assert_eq!(world.core.poll_captchas(world.now), Some(512));
}

#[test]
fn few_users_do_not_use_up_the_pictures() {
    let mut world = world(door(Door::Captcha));
    assert!(world.core.poll_captchas(world.now).is_some());
    paint(&mut world, &["AB12"; 20]);
    for _ in 0..5 {
        assert_eq!(world.ask(get_as(1, CHALLENGE)).status, 200);
    }
    assert_eq!(world.ask(get_as(1, CHALLENGE)).code(), "rate_limited");
    assert_eq!(world.ask(get_as(2, CHALLENGE)).status, 200);
    world.pass(1_000);
    assert_eq!(world.ask(get_as(1, CHALLENGE)).status, 200);
}

#[test]
fn pictures_are_asked_for_ahead_of_the_sale_and_only_where_it_needs_them() {
    let mut rules = RULES;
    rules.starts_at_ms = START_MS + HOUR_MS / 2;
    let mut world = World::with(10, rules, |_| {});
    let mut known = activity(1, rules);
    assert_eq!(world.core.poll_captchas(world.now), None);
    (known.version, known.admission.door) = (2, Door::Captcha);
    world.control(Control::Activity(known));
    assert_eq!(world.core.poll_captchas(world.now), None);
    world.pass(HOUR_MS / 2 - gateway_core::CAPTCHA_LEAD_MS);
    assert_eq!(world.core.poll_captchas(world.now), Some(512));
    assert_eq!(world.ask(get_as(1, "/api/v1/seckill/activities/2/challenge")).code(), "unknown_activity");
    world.pass(HOUR_MS);
    paint(&mut world, &[]);
    assert_eq!(world.core.poll_captchas(world.now), None);
}

#[test]
fn bodies_of_ticket_requests() {
    let mut world = world(door(Door::Ticket));
    for (body, expect) in [
        ("", "ticket_issued"),
        ("{}", "ticket_issued"),
        (r#"{"challenge":null,"answer":null}"#, "ticket_issued"),
        (r#"{"challenge":7}"#, "invalid_body"),
        (r#"{"user_id":"7"}"#, "invalid_body"),
        ("[]", "invalid_body"),
        ("null", "invalid_body"),
        ("{", "invalid_body"),
    ] {
        let answer = ticket(&mut world, 1, body);
        let code = if answer.status == 201 { "ticket_issued".to_owned() } else { answer.code() };
        assert_eq!(code, expect, "{body}");
    }
    assert_eq!(world.ask(get_as(1, CHALLENGE)).code(), "no_challenge");
    assert_eq!(world.ask(get_as(1, TICKETS)).header("allow"), "POST, OPTIONS");
    let id = world.open();
    world.send(id, post_to("/api/v1/seckill/activities/x/tickets", 1, "", ""));
    let (bytes, next) = world.receive(id);
    assert_eq!((Answer::read(&bytes, next).code().as_str(), next), ("unknown_activity", Next::Read));
}
