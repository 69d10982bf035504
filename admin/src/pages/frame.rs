//! The frame of every page, and the headers that it is served with.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};

use super::{
    assets::{address, public_address},
    form::{Errors, button, log_failure, reason},
    session::{ACCOUNT, Visitor},
    text::Lang,
};
use crate::actions::{Refusal, Role};

/// Scripts and styles of the pages' own only; pictures may be at the shop's origin, or chosen and not sent yet (`blob:`).
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: http: https:; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// A part of the navigation: path, names, and who sees it.
const SECTIONS: [(&str, &str, &str, Role); 11] = [
    ("/admin/", "概览", "Overview", Role::Viewer),
    ("/admin/sales", "秒杀活动", "Sales", Role::Viewer),
    ("/admin/products", "商品", "Products", Role::Viewer),
    ("/admin/categories", "分类", "Categories", Role::Viewer),
    ("/admin/orders", "订单", "Orders", Role::Viewer),
    ("/admin/money", "资金", "Money", Role::Viewer),
    ("/admin/users", "用户", "Users", Role::Viewer),
    ("/admin/parked", "运维", "Operations", Role::Viewer),
    ("/admin/audit-log", "审计日志", "Audit log", Role::Admin),
    ("/admin/staff", "员工", "Staff", Role::Admin),
    ("/admin/settings", "设置", "Settings", Role::Admin),
];

/// Who a page is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Staff,
    /// Anybody; the browser loads the page again every few seconds.
    Public,
}

/// Seconds after which a public page is loaded again.
const REFRESH_S: u32 = 3;

fn document(lang: Lang, title: &str, whom: For, body: &Markup) -> Markup {
    let address = if whom == For::Public { public_address } else { address };
    html! {
        (DOCTYPE)
        html lang=(lang.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if whom == For::Public { meta http-equiv="refresh" content=(REFRESH_S); }
                title { (title) " · " (lang.t("商城管理", "Mall admin")) }
                link rel="icon" href=(address("icon.svg"));
                link rel="stylesheet" href=(address("admin.css"));
                script type="module" src=(address("board.js")) {}
                @if whom == For::Staff { script type="module" src=(address("forms.js")) {} }
            }
            (body)
        }
    }
}

fn served(status: StatusCode, markup: Markup) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (status, headers, markup.into_string()).into_response()
}

/// A page for somebody who has not signed in.
pub(super) fn bare(lang: Lang, status: StatusCode, title: &str, body: &Markup) -> Response {
    served(status, document(lang, title, For::Staff, &html! { body.bare { (body) } }))
}

/// A page for anybody.
pub(super) fn public(lang: Lang, status: StatusCode, title: &str, body: &Markup) -> Response {
    served(status, document(lang, title, For::Public, &html! { body.bare { (body) } }))
}

/// A page with the navigation.
pub(super) fn page(visitor: &Visitor, status: StatusCode, title: &str, body: &Markup) -> Response {
    let lang = visitor.lang;
    let path = visitor.at.split('?').next().unwrap_or_default();
    let is_here = |target: &str| if target == "/admin/" { path == target } else { path.starts_with(target) };
    let next: String = form_urlencoded::byte_serialize(visitor.at.as_bytes()).collect();
    let body = html! {
        body {
            a.skip href="#main" { (lang.t("跳到内容", "Skip to the content")) }
            header.top {
                a.brand href="/admin/" aria-label=(lang.t("商城管理", "Mall admin")) { img src=(address("icon.svg")) alt="" width="28" height="28"; span { (lang.t("商城管理", "Mall admin")) } }
                div.who {
                    a.name href=(ACCOUNT) { (visitor.staff.username) " " span.badge { (role_name(lang, visitor.staff.role)) } }
                    a href={ "/admin/language?to=" (lang.t("en", "zh")) "&next=" (next) } { (lang.t("English", "中文")) }
                    (button(visitor, "/admin/sign-out", lang.t("退出", "Sign out"), "link", &[]))
                }
            }
            nav.sections aria-label=(lang.t("主导航", "Main")) {
                @for (target, zh, en, role) in SECTIONS {
                    @if visitor.may(role) {
                        a href=(target) aria-current=[is_here(target).then_some("page")] { (lang.t(zh, en)) }
                    }
                }
            }
            main #main tabindex="-1" { (body) }
        }
    };
    served(status, document(lang, title, For::Staff, &body))
}

pub(super) fn role_name(lang: Lang, role: Role) -> &'static str {
    match role {
        Role::Admin => lang.t("管理员", "Admin"),
        Role::Operator => lang.t("运营", "Operator"),
        Role::Viewer => lang.t("只读", "Viewer"),
    }
}

/// The page for what the role does not allow.
pub(super) fn refused(visitor: &Visitor) -> Response {
    let lang = visitor.lang;
    let title = lang.t("没有权限", "Not allowed");
    let body = html! {
        div.panel.empty {
            h1 { (title) }
            p { (lang.t("您的角色不能这样做，或者页面已经过期。", "Your role does not allow this, or the page has expired.")) }
            p { a.button href="/admin/" { (lang.t("回到概览", "Back to the overview")) } }
        }
    };
    page(visitor, StatusCode::FORBIDDEN, title, &body)
}

/// The page for a row that does not exist.
pub(super) fn missing(visitor: &Visitor) -> Response {
    let lang = visitor.lang;
    let title = lang.t("找不到", "Not found");
    let body = html! {
        div.panel.empty {
            h1 { (title) }
            p { (lang.t("这里没有东西。", "There is nothing here.")) }
            p { a.button href="/admin/" { (lang.t("回到概览", "Back to the overview")) } }
        }
    };
    page(visitor, StatusCode::NOT_FOUND, title, &body)
}

/// The status that a refusal is served with.
pub(super) fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Unknown(_) => StatusCode::NOT_FOUND,
        Refusal::Changed { .. }
        | Refusal::Conflict(_)
        | Refusal::NoAddress
        | Refusal::OtherRefund(_)
        | Refusal::NameTaken
        | Refusal::InsufficientStock { .. } => StatusCode::CONFLICT,
        Refusal::Busy | Refusal::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A page that says why something was not done.
pub(super) fn failed(lang: Lang, refusal: &Refusal) -> Response {
    log_failure(refusal);
    let title = lang.t("没有完成", "It was not done");
    let body = html! {
        main.sign-in #main {
            div.panel.stack { h1 { (title) } p role="alert" { (reason(lang, refusal)) } p { a.button href="/admin/" { (lang.t("回到概览", "Back to the overview")) } } }
        }
    };
    bare(lang, status_of(refusal), title, &body)
}

/// A page with the navigation that says why a button did nothing.
pub(super) fn note(visitor: &Visitor, errors: &Errors, status: StatusCode) -> Response {
    let title = visitor.lang.t("没有完成", "It was not done");
    let body = html! { div.panel.stack { h1 { (title) } (errors.summary(visitor.lang)) } };
    page(visitor, status, title, &body)
}

/// The heading of a page, and what can be done there.
pub(super) fn heading(title: &str, actions: &Markup) -> Markup {
    html! { div.heading { h1 { (title) } div.actions { (actions) } } }
}

/// Links to the first page and to the next one. `query` is what the list is filtered by, such as `state=paid`.
pub(super) fn pager(visitor: &Visitor, (path, query): (&str, &str), next: Option<i64>) -> Markup {
    let lang = visitor.lang;
    let is_first = !visitor.at.contains("cursor=");
    let join = if query.is_empty() { "" } else { "&" };
    html! {
        @if !is_first || next.is_some() {
            nav.pager aria-label=(lang.t("分页", "Pages")) {
                @if !is_first { a.button href={ (path) "?" (query) } { (lang.t("第一页", "First page")) } }
                @if let Some(next) = next { a.button href={ (path) "?" (query) (join) "cursor=" (next) } { (lang.t("下一页", "Next page")) } }
            }
        }
    }
}
