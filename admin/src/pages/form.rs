//! Forms: what was posted, what is wrong with it, and fields that show both.

use std::collections::BTreeMap;

use axum::{
    extract::{FromRequest, Multipart, Request, multipart::MultipartError},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use web::Raw;

use super::{
    frame::{missing, refused, status_of},
    session::{RESUMED, Visitor, sign_in_first},
    text::Lang,
};
use crate::{
    actions::{Api, Refusal, Role},
    csv::CSV_BYTES_MAX,
};

/// Fields of one form at most.
const FIELDS_MAX: usize = 500;

/// What a form has sent, or what it is to show.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn of<const N: usize>(pairs: [(&str, String); N]) -> Self {
        Self(pairs.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// These fields, and `more`.
    pub(super) fn with<const N: usize>(mut self, more: [(&str, String); N]) -> Self {
        self.0.extend(more.map(|(name, value)| (name.to_owned(), value)));
        self
    }

    pub(super) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).take(FIELDS_MAX).map(|(k, v)| (k.into_owned(), v.into_owned())).collect())
    }

    /// The value of a field; empty where it was not sent.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Every value of a field that was sent several times.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs().filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// As browsers encode it, without these fields.
    pub(super) fn without(&self, names: &[&str]) -> String {
        let kept = self.pairs().filter(|(name, _)| !names.contains(name));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name) == "on"
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let Raw(body) = Raw::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        Ok(Self::parse(&body))
    }
}

/// A form that an operator or admin has sent in a session, with the session's own value in it.
pub(super) struct Posted {
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl<K: LedgerClient, C: Clock> FromRequest<Api<K, C>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, api: &Api<K, C>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let found = Visitor::find(&mut parts, api).await?;
        if let Some(refused) = found.as_ref().and_then(|visitor| visitor.refused_below(Role::Operator)) {
            return Err(refused);
        }
        let fields = Fields::from_request(Request::from_parts(parts.clone(), body), api).await?;
        let Some(mut visitor) = found else { return Err(sign_in_first(&parts, &fields)) };
        if fields.get("csrf") != visitor.csrf {
            return Err(refused(&visitor));
        }
        visitor.is_resuming = fields.is_on(RESUMED);
        Ok(Self { visitor, fields })
    }
}

/// The longest text field of a form with files, in bytes: a file of [`CSV_BYTES_MAX`] as UTF-8 with CR LF.
const TEXT_BYTES_MAX: usize = 3 * CSV_BYTES_MAX;

/// A form with files.
pub(super) struct Upload {
    pub(super) fields: Fields,
    pub(super) files: Vec<Sent>,
}

/// A file of a form.
pub(super) struct Sent {
    pub(super) bytes: Vec<u8>,
    /// It was longer than wanted, and its bytes are not kept.
    pub(super) is_cut: bool,
}

impl Upload {
    /// Reads a form to its end, so that the browser gets an answer, but keeps at most `files_max` files of `bytes_max`.
    pub(super) async fn read(mut form: Multipart, files_max: usize, bytes_max: usize) -> Result<Self, Refusal> {
        let broken = |error: MultipartError| Refusal::invalid("", error.body_text());
        let (mut fields, mut files) = (Vec::new(), Vec::new());
        while let Some(mut field) = form.next_field().await.map_err(broken)? {
            let name = field.name().unwrap_or_default().to_owned();
            let is_file = field.file_name().is_some();
            let limit = if is_file { bytes_max } else { TEXT_BYTES_MAX };
            let (mut bytes, mut is_cut) = (Vec::new(), false);
            while let Some(chunk) = field.chunk().await.map_err(broken)? {
                is_cut |= bytes.len() + chunk.len() > limit;
                if is_cut { bytes = Vec::new() } else { bytes.extend_from_slice(&chunk) }
            }
            if is_file {
                if !bytes.is_empty() || is_cut {
                    files.push(Sent { bytes, is_cut });
                }
            } else if fields.len() < FIELDS_MAX {
                fields.push((name, String::from_utf8_lossy(&bytes).into_owned()));
            }
            if files.len() > files_max {
                return Err(Refusal::invalid("", format!("at most {files_max} files at once")));
            }
        }
        Ok(Self { fields: Fields(fields), files })
    }
}

/// What is wrong, by field; `""` is the whole form.
#[derive(Debug, Clone, Default)]
pub(super) struct Errors {
    texts: BTreeMap<&'static str, String>,
    /// Somebody else has changed the row.
    is_changed: bool,
    /// What the row has now, for the fields of the form.
    now: Option<Fields>,
}

impl Errors {
    pub(super) fn add(&mut self, field: &'static str, text: impl Into<String>) {
        self.texts.entry(field).or_insert_with(|| text.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// A form that was sent before its session.
    fn resumed(lang: Lang) -> Self {
        let mut errors = Self::default();
        let text = lang.t(
            "登录曾过期，什么都没有保存。请检查内容后再次提交。",
            "The session had ended, and nothing was saved. Check your input and send it again.",
        );
        errors.add("", text);
        errors
    }

    /// These errors, where somebody else has changed the row also with its values of `now`.
    pub(super) fn against(&self, now: Fields) -> Self {
        Self { now: self.is_changed.then_some(now), ..self.clone() }
    }

    /// What the row has now in a field, where the form has another value.
    fn other(&self, name: &str, input: &str) -> Option<&str> {
        self.now.as_ref().map(|now| now.get(name)).filter(|now| *now != input)
    }

    pub(super) fn of(lang: Lang, refusal: &Refusal) -> Self {
        log_failure(refusal);
        let mut errors = Self::default();
        let field = match refusal {
            Refusal::Invalid { field, .. } => field,
            Refusal::InsufficientStock { .. } => "stock",
            Refusal::NameTaken => "username",
            Refusal::Unknown(_)
            | Refusal::Changed { .. }
            | Refusal::Conflict(_)
            | Refusal::OtherRefund(_)
            | Refusal::NoAddress
            | Refusal::Busy
            | Refusal::Unavailable(_)
            | Refusal::Fault(_) => "",
        };
        errors.add(field, reason(lang, refusal));
        errors.is_changed = matches!(refusal, Refusal::Changed { .. });
        errors
    }

    /// These errors, with the one at `from` shown at `to`, in a form that names its field otherwise.
    pub(super) fn renamed(mut self, from: &str, to: &'static str) -> Self {
        if let Some(text) = self.texts.remove(from) {
            self.add(to, text);
        }
        self
    }

    /// The value, or an error that says `text`.
    pub(super) fn need<T>(&mut self, field: &'static str, value: Option<T>, text: &str) -> Option<T> {
        if value.is_none() {
            self.add(field, text);
        }
        value
    }

    /// What is wrong with the whole form, and that fields are marked.
    pub(super) fn summary(&self, lang: Lang) -> Markup {
        html! {
            @if !self.is_empty() {
                div.error role="alert" {
                    @if let Some(text) = self.texts.get("") { p { (text) } }
                    @else { p { (lang.t("没有保存。请检查标出的字段。", "Nothing was saved. Check the marked fields.")) } }
                }
            }
        }
    }

    fn mark(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }
}

/// Logs a refusal that is a failure of the mall.
pub(super) fn log_failure(refusal: &Refusal) {
    if let Refusal::Unavailable(error) | Refusal::Fault(error) = refusal {
        tracing::warn!(error, "a request of the admin pages failed");
    }
}

/// A refusal in words.
pub(super) fn reason(lang: Lang, refusal: &Refusal) -> String {
    match refusal {
        Refusal::Invalid { detail, .. } if lang == Lang::Zh => format!("这个值不能用：{detail}"),
        Refusal::Invalid { detail, .. } => detail.clone(),
        Refusal::Unknown(_) => lang.t("已经不存在。", "It does not exist any more.").to_owned(),
        Refusal::Changed { .. } => lang
            .t(
                "别人刚刚改过它。下面是您填写的内容，旁边是现在的值。再次保存会覆盖。",
                "Somebody else has changed it meanwhile. Your input is below, with the present values. Save again to replace them.",
            )
            .to_owned(),
        Refusal::Conflict(detail) if lang == Lang::Zh => format!("当前状态不允许：{detail}"),
        Refusal::Conflict(detail) => detail.clone(),
        Refusal::NoAddress => lang
            .t("订单没有收货地址，需由买家选择。", "The order has no address. Its buyer has to choose one.")
            .to_owned(),
        Refusal::OtherRefund(_) => lang
            .t("买家已改为另一笔退款申请，请重新查看。", "The buyer asks for another refund by now. Read it again.")
            .to_owned(),
        Refusal::NameTaken => lang.t("用户名已被使用。", "This name is taken.").to_owned(),
        Refusal::InsufficientStock { left, .. } => match lang {
            Lang::Zh => format!("库存不足，只有 {left} 件。"),
            Lang::En => format!("There are only {left} units."),
        },
        Refusal::Busy | Refusal::Unavailable(_) => {
            lang.t("系统暂时没有响应，请重试。", "A part of the system does not answer. Try again.").to_owned()
        }
        Refusal::Fault(_) => lang.t("系统出错，已记入日志。", "The server failed; it is logged.").to_owned(),
    }
}

/// What a form shows and where it complains.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) fields: &'a Fields,
    pub(super) errors: &'a Errors,
}

impl Shown<'_> {
    /// A field with its label, hint and error. `attributes` are `type`, and whether it is required.
    pub(super) fn input(self, name: &str, label: &str, kind: &str, hint: &str) -> Markup {
        let error = self.errors.mark(name);
        let (hint_id, error_id) = (format!("{name}-hint"), format!("{name}-error"));
        let described = match (hint.is_empty(), error) {
            (true, None) => None,
            (false, None) => Some(hint_id.clone()),
            (true, Some(_)) => Some(error_id.clone()),
            (false, Some(_)) => Some(format!("{error_id} {hint_id}")),
        };
        let step = (kind == "datetime-local").then_some("1");
        html! {
            div.field.wrong[error.is_some()] {
                label for=(name) { (label) }
                @if kind == "textarea" {
                    textarea id=(name) name=(name) rows="5" aria-describedby=[described] aria-invalid=[error.map(|_| "true")] { (self.fields.get(name)) }
                } @else {
                    input id=(name) name=(name) type=(kind) step=[step] value=[(kind != "password").then(|| self.fields.get(name))] autocomplete="off"
                        aria-describedby=[described] aria-invalid=[error.map(|_| "true")];
                }
                @if let Some(error) = error { p.field-error id=(error_id) { (error) } }
                @if let Some(now) = self.errors.other(name, self.fields.get(name)) { (present(now)) }
                @if !hint.is_empty() { p.hint id=(hint_id) { (hint) } }
            }
        }
    }

    /// What is wrong with a group of fields that has one name.
    pub(super) fn group_error(self, name: &str) -> Markup {
        html! { @if let Some(error) = self.errors.mark(name) { p.field-error { (error) } } }
    }

    /// A choice of (value, label).
    pub(super) fn select(self, name: &str, label: &str, choices: &[(String, String)], hint: &str) -> Markup {
        let error = self.errors.mark(name);
        html! {
            div.field.wrong[error.is_some()] {
                label for=(name) { (label) }
                select id=(name) name=(name) aria-invalid=[error.map(|_| "true")] {
                    @for (value, text) in choices { option value=(value) selected[self.fields.get(name) == value] { (text) } }
                }
                @if let Some(error) = error { p.field-error { (error) } }
                @if let Some(now) = self.errors.other(name, self.fields.get(name)) {
                    (present(choices.iter().find(|(value, _)| value == now).map_or(now, |(_, text)| text)))
                }
                @if !hint.is_empty() { p.hint { (hint) } }
            }
        }
    }

    pub(super) fn check(self, name: &str, label: &str) -> Markup {
        let error = self.errors.mark(name);
        html! {
            label.check { input type="checkbox" name=(name) checked[self.fields.is_on(name)]; span { (label) } }
            @if let Some(error) = error { p.field-error { (error) } }
            @if let Some(now) = self.errors.other(name, self.fields.get(name)) { (present(if now == "on" { "✓" } else { "✗" })) }
        }
    }
}

/// What a row has now, next to what a form has.
fn present(now: &str) -> Markup {
    html! { p.present { "⟳ " @if now.is_empty() { "–" } @else { (now) } } }
}

/// The answer to a form: the page `to` after a success; otherwise `again`, the form with what is wrong with it.
pub(super) async fn submit<T, E: Into<Refusal>>(
    visitor: &Visitor,
    action: impl Future<Output = Result<T, E>>,
    to: &str,
    again: impl AsyncFnOnce(Errors, StatusCode) -> Response,
) -> Response {
    submit_then(visitor, action, |_| to.to_owned(), again).await
}

/// As [`submit`], where the next page depends on what the action made.
pub(super) async fn submit_then<T, E: Into<Refusal>>(
    visitor: &Visitor,
    action: impl Future<Output = Result<T, E>>,
    to: impl FnOnce(T) -> String,
    again: impl AsyncFnOnce(Errors, StatusCode) -> Response,
) -> Response {
    if visitor.is_resuming {
        return again(Errors::resumed(visitor.lang), StatusCode::OK).await;
    }
    match action.await.map_err(Into::into) {
        Ok(made) => Redirect::to(&to(made)).into_response(),
        Err(Refusal::Unknown(_)) => missing(visitor),
        Err(refusal) => again(Errors::of(visitor.lang, &refusal), status_of(&refusal)).await,
    }
}

/// The hidden fields of every form.
pub(super) fn hidden(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="csrf" value=(visitor.csrf); }
}

/// A button that is a form of its own.
pub(super) fn button(visitor: &Visitor, action: &str, label: &str, class: &str, pairs: &[(&str, &str)]) -> Markup {
    html! {
        form.inline method="post" action=(action) {
            (hidden(visitor))
            @for (name, value) in pairs { input type="hidden" name=(name) value=(value); }
            button class=(class) type="submit" { (label) }
        }
    }
}

/// A new key, under which a form makes something once however often it is sent.
pub(super) fn key() -> String {
    foundation::random_hex(16).unwrap_or_default()
}
