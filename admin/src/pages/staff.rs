//! Accounts of staff and their sessions.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use contract::UserId;
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use store::{StaffAccount, StaffSession};
use web::Path;

use super::{
    catalogue::{CursorQuery, page_at},
    form::{Errors, Fields, Posted, Shown, button, hidden, submit},
    frame::{failed, heading, missing, page, pager, role_name},
    list::{self, Column},
    session::Visitor,
    text::{Lang, time},
};
use crate::actions::{
    Api, Refusal, Role,
    staff::{self as actions, AccountChanges},
};

/// Sessions of an account that are shown.
const SESSIONS_SHOWN: u32 = 20;

fn roles(lang: Lang) -> Vec<(String, String)> {
    Role::ALL.iter().rev().map(|role| (role.as_str().to_owned(), role_name(lang, *role).to_owned())).collect()
}

pub(super) async fn list<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<CursorQuery>,
) -> Response {
    show_staff(&api, &visitor, &query.cursor, (&Fields::default(), &Errors::default()), StatusCode::OK).await
}

async fn show_staff<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    cursor: &str,
    (fields, errors): (&Fields, &Errors),
    status: StatusCode,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let lang = visitor.lang;
    let listed = match api.store.accounts().admins(page_at(cursor)).await {
        Ok(listed) => listed,
        Err(error) => return failed(lang, &error.into()),
    };
    let shown = Shown { fields, errors };
    let title = lang.t("员工", "Staff");
    let role = |account: &StaffAccount| Role::parse(&account.role).map_or("", |role| role_name(lang, role));
    let columns = [
        Column::Text(lang.t("用户名", "Name")),
        Column::Text(lang.t("角色", "Role")),
        Column::Text(lang.t("状态", "State")),
        Column::Text(lang.t("创建时间", "Created")),
    ];
    let row = |account: &StaffAccount| {
        html! {
            td { a href={ "/admin/staff/" (account.id) } { (account.username) } } td { (role(account)) }
            td { @if account.disabled { span.badge.bad { (lang.t("已停用", "Disabled")) } } @else { span.badge.good { (lang.t("正常", "Active")) } } }
            td { (time(account.created_at_ms)) }
        }
    };
    let body = html! {
        (heading(title, &html! {}))
        div.two.wide-left {
            div {
                (list::table(&columns, &listed, "", row))
                (pager(visitor, ("/admin/staff", ""), listed.next))
            }
            form.panel.stack method="post" action="/admin/staff" {
                h2 { (lang.t("新建账号", "New account")) }
                (errors.summary(lang)) (hidden(visitor))
                (shown.input("username", lang.t("用户名", "User name"), "text", ""))
                (shown.select("role", lang.t("角色", "Role"), &roles(lang), lang.t("管理员可以退款、封禁和管理账号；运营管理商品、活动和发货；只读只能查看。", "Admins also refund, block and manage accounts; operators run catalogue, sales and shipments; viewers read.")))
                (shown.input("password", lang.t("密码", "Password"), "password", lang.t("至少 10 个字符。", "At least 10 characters.")))
                button.primary type="submit" { (lang.t("新建", "Create")) }
            }
        }
    };
    page(visitor, status, title, &body)
}

pub(super) async fn add<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Posted { visitor, fields }: Posted,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let role = Role::parse(fields.get("role")).unwrap_or(Role::Viewer);
    let account = (fields.get("username"), fields.get("password"));
    let adding = actions::add(&api, &visitor.staff, account, role);
    submit(&visitor, adding, "/admin/staff", async |errors, status| {
        show_staff(&api, &visitor, "", (&fields, &errors), status).await
    })
    .await
}

pub(super) async fn one<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Path(id): Path<UserId>,
) -> Response {
    show_account(&api, &visitor, id, (None, &Errors::default()), StatusCode::OK).await
}

async fn show_account<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    id: UserId,
    form: (Option<&Fields>, &Errors),
    status: StatusCode,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let read = async {
        let Some(account) = api.store.accounts().admin(id).await? else { return Ok(None) };
        Ok::<_, Refusal>(Some((account, sessions_of(api, id).await?)))
    };
    match read.await {
        Ok(Some((account, sessions))) => {
            page(visitor, status, &account.username, &account_body(visitor, &account, &sessions, form))
        }
        Ok(None) => missing(visitor),
        Err(refusal) => failed(visitor.lang, &refusal),
    }
}

fn account_body(
    visitor: &Visitor,
    account: &StaffAccount,
    sessions: &[StaffSession],
    (sent, errors): (Option<&Fields>, &Errors),
) -> Markup {
    let lang = visitor.lang;
    let now =
        Fields::of([("role", account.role.clone()), ("disabled", if account.disabled { "on" } else { "" }.to_owned())]);
    let errors = &errors.against(now.clone());
    let shown = Shown { fields: sent.unwrap_or(&now), errors };
    html! {
        (heading(&account.username, &html! { a.button href="/admin/staff" { (lang.t("全部账号", "All accounts")) } }))
        div.two {
            form.panel.stack method="post" action={ "/admin/staff/" (account.id) } {
                (errors.summary(lang)) (hidden(visitor))
                input type="hidden" name="version" value=(account.version);
                (shown.select("role", lang.t("角色", "Role"), &roles(lang), ""))
                (shown.check("disabled", lang.t("停用：不能登录", "Disabled: can't sign in")))
                (shown.input("password", lang.t("新密码（可选）", "New password (optional)"), "password", lang.t("至少 10 个字符。", "At least 10 characters.")))
                p.consequence { (lang.t("保存会结束该账号的所有会话。新密码须由本人在登录后更换。", "Saving ends all sessions of this account. Its owner must replace a new password after signing in.")) }
                button.primary type="submit" { (lang.t("保存", "Save")) }
            }
            (sessions_panel(visitor, sessions, &format!("/admin/staff/{}", account.id)))
        }
    }
}

/// The sessions of an account, with a button that ends one at a path below `path`.
pub(super) fn sessions_panel(visitor: &Visitor, sessions: &[StaffSession], path: &str) -> Markup {
    let lang = visitor.lang;
    html! {
        section.panel { h2 { (lang.t("会话", "Sessions")) }
            @if sessions.is_empty() { p.muted { (lang.t("没有会话。", "No session.")) } }
            ul.rows { @for session in sessions { li {
                span { (session.address) @if session.id == visitor.session { " " span.badge.info { (lang.t("当前", "This one")) } } br; span.muted { (time(session.created_at_ms)) } }
                (button(visitor, &format!("{path}/sessions/{}/end", session.id), lang.t("结束", "End"), "button", &[]))
            } } }
        }
    }
}

/// The newest sessions of an account.
pub(super) async fn sessions_of<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    id: UserId,
) -> Result<Vec<StaffSession>, Refusal> {
    Ok(api.store.accounts().admin_sessions(id, SESSIONS_SHOWN, api.clock.now_ms()).await?)
}

pub(super) async fn end_session<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path((id, session)): Path<(UserId, i64)>,
    Posted { visitor, .. }: Posted,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let ending = async { api.store_of(&visitor.staff).accounts().end_admin_session(id, session).await };
    submit(&visitor, ending, &format!("/admin/staff/{id}"), async |errors, status| {
        show_account(&api, &visitor, id, (None, &errors), status).await
    })
    .await
}

pub(super) async fn patch<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<UserId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let password = Some(fields.get("password").to_owned()).filter(|password| !password.is_empty());
    let changes =
        AccountChanges { role: Role::parse(fields.get("role")), disabled: Some(fields.is_on("disabled")), password };
    let version = fields.get("version").parse().unwrap_or(0);
    let patching = actions::patch(&api, &visitor.staff, (id, version), changes);
    submit(&visitor, patching, "/admin/staff", async |errors, status| {
        show_account(&api, &visitor, id, (Some(&fields), &errors), status).await
    })
    .await
}
