//! Accounts of staff and the audit log.

use contract::UserId;
use serde_json::json;

use super::Place;
use crate::{Actor, AuditQuery, Changed, NewCategory, Page, StaffPatch};

const ALL: Page = Page { before: i64::MAX, limit: 100 };

fn actor(id: i64) -> Actor {
    let (username, address) = ("eve".to_owned(), "192.0.2.7".to_owned());
    Actor { admin: UserId::from_i64(id).unwrap(), username, address, at_ms: 77 }
}

fn category(name: &str) -> NewCategory {
    NewCategory { parent: None, name: name.to_owned(), sort_order: 0 }
}

async fn logged(place: &Place) {
    let store = place.open().await;
    let staff = store.acting(actor(5));
    store.catalogue().add_category(category("nobody's"), 1).await.unwrap().unwrap();
    let added = staff.catalogue().add_category(category("phones"), 1).await.unwrap().unwrap();
    let patch = crate::CategoryPatch { name: Some("watches".to_owned()), sort_order: None };
    staff.catalogue().patch_category(added.category_id, 1, patch.clone()).await.unwrap();
    // Refused: the version is an old one.
    assert_eq!(staff.catalogue().patch_category(added.category_id, 1, patch).await.unwrap(), Changed::VersionIs(2));

    let listed = store.accounts().audit_log(&AuditQuery::default(), ALL).await.unwrap().items;
    let seen: Vec<_> = listed.iter().map(|entry| (&*entry.action, entry.subject_id)).collect();
    let id = Some(added.category_id.as_i64());
    assert_eq!(seen, [("patch_category", id), ("add_category", id)]);
    let entry = &listed[0];
    assert_eq!((entry.admin.as_i64(), &*entry.username, &*entry.address, entry.at_ms), (5, "eve", "192.0.2.7", 77));
    assert_eq!(entry.before.as_ref().unwrap()["name"], "phones");
    assert_eq!(entry.after.as_ref().unwrap()["name"], "watches");
    assert_eq!(listed[1].before, None);

    let only = async |which: AuditQuery| store.accounts().audit_log(&which, ALL).await.unwrap().items.len();
    assert_eq!(only(AuditQuery { action: Some("add_category".to_owned()), ..AuditQuery::default() }).await, 1);
    assert_eq!(only(AuditQuery { admin: UserId::from_i64(6), ..AuditQuery::default() }).await, 0);
    assert_eq!(
        only(AuditQuery { subject_id: id, subject: Some("category".to_owned()), ..AuditQuery::default() }).await,
        2
    );
    assert_eq!(only(AuditQuery { since_ms: Some(78), ..AuditQuery::default() }).await, 0);
    assert_eq!(only(AuditQuery { since_ms: Some(77), until_ms: Some(78), ..AuditQuery::default() }).await, 2);
    let first = store.accounts().audit_log(&AuditQuery::default(), Page { limit: 1, ..ALL }).await.unwrap();
    let second = Page { before: first.next.unwrap(), limit: 1 };
    assert_eq!(
        store.accounts().audit_log(&AuditQuery::default(), second).await.unwrap().items[0].action,
        "add_category"
    );
}

async fn last_admin(place: &Place) {
    let store = place.open().await;
    store.accounts().ensure_admin("root", ("hash", false), "admin", 1).await.unwrap();
    let root = store.accounts().admins(ALL).await.unwrap().items[0].clone();
    let disabled = StaffPatch { disabled: Some(true), ..StaffPatch::default() };
    let demoted = StaffPatch { role: Some("viewer".to_owned()), ..StaffPatch::default() };
    for patch in [&disabled, &demoted] {
        assert_eq!(store.accounts().patch_admin(root.id, 1, patch.clone(), 2).await.unwrap(), Changed::TooLate);
    }
    let eve = store.accounts().add_admin("Eve", "hash", "admin", 1).await.unwrap().unwrap();
    assert_eq!((&*eve.username, store.accounts().add_admin("EVE", "hash", "viewer", 1).await.unwrap()), ("eve", None));
    assert!(store.accounts().add_admin_session(root.id, ("token", "::1"), ("hash", 100), 2).await.unwrap());
    assert_eq!(store.accounts().admin_session("token", 99).await.unwrap().unwrap().admin, root.id);
    assert_eq!(store.accounts().admin_session("token", 100).await.unwrap(), None);

    let Changed::Done(changed) = store.accounts().patch_admin(root.id, 1, disabled.clone(), 50).await.unwrap() else {
        panic!("another admin is left");
    };
    assert_eq!((changed.disabled, changed.tokens_from_ms, changed.version), (true, 50, 2));
    assert_eq!(store.accounts().admin_session("token", 60).await.unwrap(), None, "its sessions have ended");
    let credentials = store.accounts().credentials(crate::Realm::Admins, "root").await.unwrap().unwrap();
    assert!(credentials.blocked);
    assert_eq!(store.accounts().patch_admin(eve.id, 1, disabled, 60).await.unwrap(), Changed::TooLate);
}

async fn no_password(place: &Place) {
    let store = place.open().await;
    let staff = store.acting(actor(5));
    let eve = staff.accounts().add_admin("eve", "the-hash", "viewer", 1).await.unwrap().unwrap();
    let patch = StaffPatch { password_hash: Some("the-hash".to_owned()), ..StaffPatch::default() };
    staff.accounts().patch_admin(eve.id, 1, patch, 2).await.unwrap();
    let listed = store.accounts().audit_log(&AuditQuery::default(), ALL).await.unwrap().items;
    assert_eq!(
        listed[0].after,
        Some(json!({ "username": "eve", "role": "viewer", "disabled": false, "password": "changed" }))
    );
    assert!(!format!("{listed:?}").contains("the-hash"));
}

/// The hash of a password takes its time, and another admin may change the password or disable the account meanwhile.
async fn overtaken(place: &Place) {
    let store = place.open().await;
    store.accounts().ensure_admin("root", ("hash", false), "admin", 1).await.unwrap();
    let eve = store.accounts().add_admin("eve", "old", "operator", 1).await.unwrap().unwrap();
    let begins = async |proof: &str| {
        let token = format!("token {proof}");
        let session = store.accounts().add_admin_session(eve.id, (&token, "::1"), (proof, 100), 2).await.unwrap();
        assert_eq!(store.accounts().admit_admin(eve.id, proof, 2).await.unwrap(), session, "pages and API agree");
        session
    };
    let patch = StaffPatch { password_hash: Some("new".to_owned()), ..StaffPatch::default() };
    // By a process whose clock is hours ahead.
    assert!(matches!(store.accounts().patch_admin(eve.id, 1, patch, 9_000_000).await.unwrap(), Changed::Done(_)));
    assert!(!begins("old").await);
    assert_eq!(store.accounts().admin_sessions(eve.id, 9, 2).await.unwrap(), []);
    assert!(begins("new").await);
    assert_eq!(
        store.accounts().admin(eve.id).await.unwrap().unwrap().tokens_from_ms,
        0,
        "tokens of today are good again"
    );
    let disabled = StaffPatch { disabled: Some(true), ..StaffPatch::default() };
    assert!(matches!(store.accounts().patch_admin(eve.id, 2, disabled, 3).await.unwrap(), Changed::Done(_)));
    assert!(!begins("new").await);
}

cases! {
    a_sign_in_of_staff_does_not_outlive_a_change => overtaken,
    a_change_by_staff_is_in_the_audit_log => logged,
    the_last_admin_keeps_the_role => last_admin,
    the_audit_log_never_has_a_password => no_password,
}
