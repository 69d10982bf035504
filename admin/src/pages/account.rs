//! Somebody's own account: the password, and the sessions.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use foundation::Clock;
use ledger::LedgerClient;
use maud::html;
use web::{ClientAddress, Path};

use super::{
    form::{Errors, Fields, Shown, hidden},
    frame::{failed, heading, page, refused, status_of},
    session::{ACCOUNT, Visitor, begin, sign_in_error},
    staff::sessions_panel,
};
use crate::{
    actions::{
        Api, Refusal,
        staff::{AccountChanges, patch},
    },
    api::sessions::check,
};

pub(super) async fn show<K: LedgerClient, C: Clock>(State(api): State<Api<K, C>>, visitor: Visitor) -> Response {
    render(&api, &visitor, &Errors::default(), StatusCode::OK).await
}

async fn render<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    errors: &Errors,
    status: StatusCode,
) -> Response {
    let lang = visitor.lang;
    let sessions = match super::staff::sessions_of(api, visitor.staff.id).await {
        Ok(sessions) => sessions,
        Err(refusal) => return failed(lang, &refusal),
    };
    let fields = Fields::default();
    let shown = Shown { fields: &fields, errors };
    let title = lang.t("我的账号", "Your account");
    let body = html! {
        (heading(title, &html! {}))
        @if visitor.must_change_password {
            p.consequence role="alert" { (lang.t("当前密码不是您自己设置的。请先换成只有您知道的密码。", "You did not choose this password. Replace it with one that only you know to continue.")) }
        }
        div.two {
            form.panel.stack method="post" action={ (ACCOUNT) "/password" } {
                h2 { (lang.t("修改密码", "Change the password")) }
                (errors.summary(lang)) (hidden(visitor))
                (shown.input("old_password", lang.t("当前密码", "Present password"), "password", ""))
                (shown.input("password", lang.t("新密码", "New password"), "password", lang.t("至少 10 个字符。", "At least 10 characters.")))
                (shown.input("again", lang.t("再次输入新密码", "New password again"), "password", ""))
                p.muted { (lang.t("其他会话会立即结束。", "All other sessions end.")) }
                button.primary type="submit" { (lang.t("修改密码", "Change the password")) }
            }
            (sessions_panel(visitor, &sessions, ACCOUNT))
        }
    };
    page(visitor, status, title, &body)
}

pub(super) async fn change_password<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    ClientAddress(client): ClientAddress,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    if fields.get("csrf") != visitor.csrf {
        return refused(&visitor);
    }
    let (old, new) = (fields.get("old_password"), fields.get("password"));
    let lang = visitor.lang;
    let mut errors = Errors::default();
    if new != fields.get("again") {
        errors.add("again", lang.t("两次输入的新密码不同。", "The two new passwords differ."));
    }
    if new == old {
        errors.add("password", lang.t("请使用另一个密码。", "Choose a password that differs from the present one."));
    }
    if !errors.is_empty() {
        return render(&api, &visitor, &errors, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    let credentials = |password| (visitor.staff.username.as_str(), password);
    if let Err(refused) = check(&api, client, credentials(old)).await {
        errors.add("old_password", sign_in_error(lang, refused.0.code()));
        return render(&api, &visitor, &errors, refused.0.status()).await;
    }
    if let Err(refusal) = replace(&api, &visitor, new).await {
        return render(&api, &visitor, &Errors::of(lang, &refusal), status_of(&refusal)).await;
    }
    // The change has ended this session, too.
    let to_sign_in = || Redirect::to("/admin/sign-in").into_response();
    let Ok(welcomed) = check(&api, client, credentials(new)).await else { return to_sign_in() };
    match begin(&api, &welcomed, (&client.to_string(), &headers)).await {
        Ok(Some((cookie, _))) => ([(header::SET_COOKIE, cookie)], Redirect::to("/admin/")).into_response(),
        Ok(None) | Err(_) => to_sign_in(),
    }
}

async fn replace<K: LedgerClient, C: Clock>(api: &Api<K, C>, visitor: &Visitor, password: &str) -> Result<(), Refusal> {
    let id = visitor.staff.id;
    let account = api.store.accounts().admin(id).await?.ok_or(Refusal::Unknown("account"))?;
    let changes = AccountChanges { password: Some(password.to_owned()), ..AccountChanges::default() };
    patch(api, &visitor.staff, (id, account.version), changes).await.map(drop)
}

pub(super) async fn end_session<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(session): Path<i64>,
    visitor: Visitor,
    fields: Fields,
) -> Response {
    if fields.get("csrf") != visitor.csrf {
        return refused(&visitor);
    }
    match api.store_of(&visitor.staff).accounts().end_admin_session(visitor.staff.id, session).await {
        Ok(()) => Redirect::to(ACCOUNT).into_response(),
        Err(error) => failed(visitor.lang, &error.into()),
    }
}
