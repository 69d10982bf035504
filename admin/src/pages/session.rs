//! Sign-in, the session cookie, and the person who looks at a page.
//!
//! The cookie holds a random value whose SHA-256 is in the database. Forms carry a value that is derived from the
//! cookie's, which scripts and other origins can't read; the cookie is not sent from other sites at all.

use axum::{
    extract::{FromRequestParts, Query, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use foundation::{Clock, random_hex};
use ledger::LedgerClient;
use maud::html;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use web::ClientAddress;

use super::{
    form::Fields,
    frame::{bare, failed, refused},
    text::Lang,
};
use crate::{
    actions::{Api, Refusal, Role, Staff},
    api::sessions::{Welcomed, check},
};

const COOKIE: &str = "mall_admin_session";
const LANGUAGE: &str = "mall_admin_language";
/// How long a session lasts, in milliseconds.
const SESSION_MS: u64 = 8 * 3_600_000;

/// The page of somebody's own account.
pub(super) const ACCOUNT: &str = "/admin/account";

/// The person who looks at a page.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) staff: Staff,
    pub(super) session: i64,
    /// What a form of this session carries.
    pub(super) csrf: String,
    pub(super) lang: Lang,
    /// The path and query of the page.
    pub(super) at: String,
    /// Somebody else chose the password. No page but the account's own is shown until it is changed.
    pub(super) must_change_password: bool,
    /// The form was sent before this session, and is shown again before anything is done.
    pub(super) is_resuming: bool,
}

impl Visitor {
    pub(super) fn may(&self, role: Role) -> bool {
        self.staff.role >= role
    }

    /// The 403 page for everybody below `role`.
    pub(super) fn refused_below(&self, role: Role) -> Option<Response> {
        (!self.may(role)).then(|| refused(self))
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_of(token: &str) -> String {
    hex(&Sha256::digest(token))
}

pub(super) fn language_of(headers: &HeaderMap) -> Lang {
    match cookie(headers, LANGUAGE) {
        Some("en") => Lang::En,
        Some("zh") => Lang::Zh,
        _ => {
            let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|line| line.to_str().ok()).unwrap_or("zh");
            if accepted.trim_start().to_ascii_lowercase().starts_with("zh") { Lang::Zh } else { Lang::En }
        }
    }
}

/// The account and the session that the cookie names, as long as both are good.
pub(crate) async fn find<K: LedgerClient, C: Clock>(
    headers: &HeaderMap,
    api: &Api<K, C>,
) -> Result<Option<(store::StaffAccount, i64)>, Refusal> {
    let Some(token) = cookie(headers, COOKIE) else { return Ok(None) };
    let now_ms = api.clock.now_ms();
    let Some(session) = api.store.accounts().admin_session(&hash_of(token), now_ms).await? else { return Ok(None) };
    let account = api.accounts.find(&api.store, session.admin, now_ms).await?;
    Ok(account.filter(|account| !account.disabled).map(|account| (account, session.id)))
}

impl<K: LedgerClient, C: Clock> FromRequestParts<Api<K, C>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Api<K, C>) -> Result<Self, Response> {
        match Self::find(parts, api).await? {
            Some(visitor) => Ok(visitor),
            None => {
                let next = if parts.method == Method::GET { path_of(parts) } else { "/admin/".to_owned() };
                let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
                Err(Redirect::to(&format!("/admin/sign-in?next={next}")).into_response())
            }
        }
    }
}

fn path_of(parts: &Parts) -> String {
    parts.uri.path_and_query().map_or("/admin/", |path| path.as_str()).to_owned()
}

impl Visitor {
    /// The person whose session the request has; `None` where it has none, or one that has ended.
    pub(super) async fn find<K: LedgerClient, C: Clock>(
        parts: &mut Parts,
        api: &Api<K, C>,
    ) -> Result<Option<Self>, Response> {
        let client = ClientAddress::from_request_parts(parts, api).await.map_err(IntoResponse::into_response)?;
        let lang = language_of(&parts.headers);
        let found = find(&parts.headers, api).await.map_err(|refusal| failed(lang, &refusal))?;
        let Some((account, session)) = found else { return Ok(None) };
        let at = path_of(parts);
        let must_change_password = account.must_change_password;
        if must_change_password && !at.starts_with(ACCOUNT) && parts.uri.path() != "/admin/sign-out" {
            return Err(Redirect::to(ACCOUNT).into_response());
        }
        let csrf = csrf_of(cookie(&parts.headers, COOKIE).unwrap_or_default());
        let role = Role::parse(&account.role).unwrap_or(Role::Viewer);
        let staff =
            Staff { id: account.id, username: account.username, role, address: client.0.to_string(), claim: None };
        Ok(Some(Self { staff, session, csrf, lang, at, must_change_password, is_resuming: false }))
    }
}

/// The value that the forms of a session carry.
fn csrf_of(token: &str) -> String {
    hex(&Sha256::new().chain_update(b"mall admin csrf v1\0").chain_update(token).finalize())
}

/// The longest form that waits for a sign-in, in bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// Fields that no page is to hold.
const NOT_KEPT: [&str; 5] = ["csrf", "password", "old_password", "again", RESUMED];
/// Marks a form that was sent before its session.
pub(super) const RESUMED: &str = "resumed";

/// Whether the browser says that a page of ours has sent the request.
fn is_ours(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok()).unwrap_or("none");
    matches!(site, "same-origin" | "none")
}

/// A form whose session has ended: the sign-in page, which holds it.
pub(super) fn sign_in_first(parts: &Parts, fields: &Fields) -> Response {
    let lang = language_of(&parts.headers);
    let form = if is_ours(&parts.headers) { fields.without(&NOT_KEPT) } else { String::new() };
    let (path, error) = if form.is_empty() || form.len() > KEPT_BYTES_MAX {
        ("/admin/".to_owned(), lang.t("登录已过期。请重新登录。", "The session has ended. Sign in again."))
    } else {
        let text = lang.t(
            "登录已过期。重新登录后，您填写的内容会回到表单里。",
            "The session has ended. After you sign in, the form comes back with your input.",
        );
        (path_of(parts), text)
    };
    let kept = if path == "/admin/" { "" } else { form.as_str() };
    sign_in_page(lang, StatusCode::UNAUTHORIZED, ("", &path, kept), Some(error))
}

/// The page after a sign-in that gives a kept form back to its own page.
fn resume_page(lang: Lang, (path, form): (&str, &str), token: &str) -> Response {
    let title = lang.t("已登录", "Signed in");
    let fields = Fields::parse(form.as_bytes());
    let body = html! {
        main.sign-in #main {
            form.panel.stack method="post" action=(within(path)) data-resume {
                h1 { (title) }
                p { (lang.t("还没有保存任何内容。", "Nothing is saved yet.")) }
                @for (name, value) in fields.pairs() { textarea name=(name) hidden aria-hidden="true" { "\n" (value) } }
                input type="hidden" name=(RESUMED) value="on";
                input type="hidden" name="csrf" value=(csrf_of(token));
                button.primary type="submit" { (lang.t("回到表单", "Back to the form")) }
            }
        }
    };
    bare(lang, StatusCode::OK, title, &body)
}

pub(super) async fn to_dashboard() -> Redirect {
    Redirect::to("/admin/")
}

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
    #[serde(default)]
    to: String,
}

/// A path of the pages, whatever somebody put into the address.
fn within(next: &str) -> &str {
    let is_ours = next.starts_with("/admin/") && !next.contains(['\\', '\r', '\n']);
    if is_ours && next.is_ascii() { next } else { "/admin/" }
}

pub(super) async fn form(headers: HeaderMap, Query(query): Query<Next>) -> Response {
    sign_in_page(language_of(&headers), StatusCode::OK, ("", &query.next, ""), None)
}

/// `kept` is a form that waits for the sign-in, as browsers encode it; it goes to `next`.
fn sign_in_page(
    lang: Lang,
    status: StatusCode,
    (username, next, kept): (&str, &str, &str),
    error: Option<&str>,
) -> Response {
    let body = html! {
        main.sign-in #main {
            div.brand { img src=(super::assets::address("icon.svg")) alt="" width="44" height="44"; h1 { (lang.t("商城管理", "Mall admin")) } }
            form.panel.stack method="post" action="/admin/sign-in" {
                @if let Some(error) = error { p.error role="alert" { (error) } }
                input type="hidden" name="next" value=(within(next));
                @if !kept.is_empty() { input type="hidden" name="kept" value=(kept); }
                div.field { label for="username" { (lang.t("用户名", "User name")) }
                    input #username name="username" value=(username) autocomplete="username" required autofocus maxlength="64"; }
                div.field { label for="password" { (lang.t("密码", "Password")) }
                    input #password name="password" type="password" autocomplete="current-password" required; }
                button.primary type="submit" { (lang.t("登录", "Sign in")) }
            }
            p.muted.center { a href={ "/admin/language?to=" (lang.t("en", "zh")) "&next=/admin/sign-in" } { (lang.t("English", "中文")) } }
        }
    };
    bare(lang, status, lang.t("登录", "Sign in"), &body)
}

pub(super) async fn sign_in<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    ClientAddress(client): ClientAddress,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    let lang = language_of(&headers);
    if !is_ours(&headers) {
        let error = lang.t("请在本页登录。", "Sign in on this page.");
        return sign_in_page(lang, StatusCode::FORBIDDEN, ("", "", ""), Some(error));
    }
    let (username, next, kept) = (fields.get("username"), fields.get("next"), fields.get("kept"));
    let welcomed = match check(&api, client, (username, fields.get("password"))).await {
        Ok(welcomed) => welcomed,
        Err(refused) => {
            let error = sign_in_error(lang, refused.0.code());
            return sign_in_page(lang, refused.0.status(), (username, next, kept), Some(error));
        }
    };
    match begin(&api, &welcomed, (&client.to_string(), &headers)).await {
        Ok(Some((cookie, token))) if !kept.is_empty() => {
            ([(header::SET_COOKIE, cookie)], resume_page(lang, (next, kept), &token)).into_response()
        }
        Ok(Some((cookie, _))) => ([(header::SET_COOKIE, cookie)], Redirect::to(within(next))).into_response(),
        Ok(None) => {
            let error = lang.t("用户名或密码不正确。", "The name or the password is wrong.");
            sign_in_page(lang, StatusCode::UNAUTHORIZED, (username, next, kept), Some(error))
        }
        Err(refusal) => failed(lang, &refusal),
    }
}

/// Why a name and a password were refused.
pub(super) fn sign_in_error(lang: Lang, code: &str) -> &'static str {
    match code {
        "invalid_credentials" => lang.t("用户名或密码不正确。", "The name or the password is wrong."),
        "locked" | "rate_limited" => lang.t("错误次数过多，请稍后再试。", "Too many wrong attempts. Try again later."),
        "blocked" => lang.t("该账号已停用。", "This account is disabled."),
        _ => lang.t("暂时无法登录，请稍后再试。", "Signing in is not possible now. Try again later."),
    }
}

/// The cookie of a new session, and the token in it; `None` where the password has changed since it was checked.
pub(super) async fn begin<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    Welcomed { account, proof, .. }: &Welcomed,
    (address, headers): (&str, &HeaderMap),
) -> Result<Option<(HeaderValue, String)>, Refusal> {
    let token = random_hex(32).map_err(|error| Refusal::Fault(error.to_string()))?;
    let now_ms = api.clock.now_ms();
    let session = (&*hash_of(&token), address);
    if !api.store.accounts().add_admin_session(*account, session, (proof, now_ms + SESSION_MS), now_ms).await? {
        return Ok(None);
    }
    let is_tls = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if is_tls { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={token}; Path=/admin; Max-Age={}; HttpOnly; SameSite=Strict{secure}", SESSION_MS / 1000);
    let cookie = HeaderValue::from_str(&cookie).map_err(|error| Refusal::Fault(error.to_string()))?;
    Ok(Some((cookie, token)))
}

pub(super) async fn sign_out<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    fields: Fields,
) -> Response {
    if fields.get("csrf") != visitor.csrf {
        return refused(&visitor);
    }
    if let Err(error) = api.store.accounts().end_admin_session(visitor.staff.id, visitor.session).await {
        return failed(visitor.lang, &error.into());
    }
    let cookie = format!("{COOKIE}=; Path=/admin; Max-Age=0; HttpOnly; SameSite=Strict");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/admin/sign-in")).into_response()
}

pub(super) async fn language(Query(query): Query<Next>) -> Response {
    let language = if query.to == "en" { "en" } else { "zh" };
    let cookie = format!("{LANGUAGE}={language}; Path=/admin; Max-Age=31536000; HttpOnly; SameSite=Strict");
    ([(header::SET_COOKIE, cookie)], Redirect::to(within(&query.next))).into_response()
}
