//! The settings of this process and where each comes from. Read-only: they are changed where the process is started.

use axum::{extract::State, http::StatusCode, response::Response};
use foundation::{Clock, config::ShownSetting};
use ledger::LedgerClient;
use maud::{Markup, html};

use super::{
    frame::{heading, page},
    session::Visitor,
    text::Lang,
};
use crate::actions::{Api, Role};

pub(super) async fn show<K: LedgerClient, C: Clock>(State(api): State<Api<K, C>>, visitor: Visitor) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let lang = visitor.lang;
    let title = lang.t("设置", "Settings");
    let body = html! {
        (heading(title, &html! {}))
        p.muted { (lang.t(
            "本进程启动时的设置，只读。要修改，请改配置文件或环境变量后重启。",
            "The settings that this process was started with. To change one, change the file or the variable and restart.",
        )) }
        div.panel.scroll tabindex="0" { table.list {
            thead { tr { th { (lang.t("名称", "Key")) } th { (lang.t("值", "Value")) } th { (lang.t("来源", "Source")) } } }
            tbody { @for setting in api.settings.iter() {
                tr { td { code { (setting.key) } } td data-label=(lang.t("值", "Value")) { (value(lang, setting)) }
                    td data-label=(lang.t("来源", "Source")) { @match &setting.source { Some(source) => (source), None => span.muted { (lang.t("默认值", "default")) } } } }
            } }
        } }
    };
    page(&visitor, StatusCode::OK, title, &body)
}

fn value(lang: Lang, setting: &ShownSetting) -> Markup {
    html! {
        @if setting.is_secret { @if setting.value.is_some() { span.badge { (lang.t("已设置，不显示", "set, not shown")) } } @else { "–" } }
        @else { @match setting.value.as_deref() { None | Some("") => "–", Some(text) => code { (text) } } }
    }
}
