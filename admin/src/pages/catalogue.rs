//! Categories.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use contract::CategoryId;
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use store::{Category, CategoryPatch, NewCategory, Page};
use web::Path;

use super::{
    form::{Errors, Fields, Posted, Shown, hidden, submit},
    frame::{failed, heading, missing, page, pager},
    session::Visitor,
    text::Lang,
};
use crate::actions::{Api, Refusal, Role, catalogue as actions};

/// Categories that a choice offers.
const CHOICES_MAX: u32 = store::PAGE_MAX;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct CursorQuery {
    pub(super) cursor: String,
}

/// The page that a cursor begins. An invalid cursor begins the first page.
pub(super) fn page_at(cursor: &str) -> Page {
    Page { before: store::cursor_number(cursor).filter(|_| !cursor.is_empty()).unwrap_or(i64::MAX), limit: 20 }
}

/// Every category as a choice.
pub(super) async fn choices<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    first: Option<&str>,
) -> Result<Vec<(String, String)>, Refusal> {
    let listed = api.store.catalogue().categories(Page { before: i64::MAX, limit: CHOICES_MAX }).await?.items;
    let first = first.map(|text| (String::new(), text.to_owned()));
    Ok(first.into_iter().chain(listed.into_iter().map(|row| (row.category_id.to_string(), row.name))).collect())
}

pub(super) async fn categories<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<CursorQuery>,
) -> Response {
    listed(&api, &visitor, &query.cursor, (&Fields::default(), &Errors::default()), StatusCode::OK).await
}

async fn listed<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    cursor: &str,
    (fields, errors): (&Fields, &Errors),
    status: StatusCode,
) -> Response {
    let lang = visitor.lang;
    let read = async {
        let listed = api.store.catalogue().categories(page_at(cursor)).await?;
        Ok::<_, Refusal>((listed, choices(api, Some(lang.t("（顶级）", "(top level)"))).await?))
    };
    let (listed, parents) = match read.await {
        Ok(read) => read,
        Err(refusal) => return failed(lang, &refusal),
    };
    let name_of = |id: &str| parents.iter().find(|(value, _)| value == id).map(|(_, name)| name.clone());
    let shown = Shown { fields, errors };
    let title = lang.t("分类", "Categories");
    let body = html! {
        (heading(title, &html! {}))
        div.two {
            div {
                div.panel.scroll { table {
                    thead { tr { th { (lang.t("名称", "Name")) } th { (lang.t("上级", "Parent")) } th.right { (lang.t("排序", "Order")) } } }
                    tbody { @for row in &listed.items {
                        tr { td { a href={ "/admin/categories/" (row.category_id) } { (row.name) } }
                            td { (row.parent_id.and_then(|id| name_of(&id.to_string())).unwrap_or_default()) }
                            td.right { (row.sort_order) } }
                    } }
                } }
                (pager(visitor, ("/admin/categories", ""), listed.next))
            }
            @if visitor.may(Role::Operator) {
                form.panel.stack method="post" action="/admin/categories" {
                    h2 { (lang.t("新建分类", "New category")) }
                    (errors.summary(lang)) (hidden(visitor))
                    (shown.input("name", lang.t("名称", "Name"), "text", lang.t("可写“中文 / English”。", "\"中文 / English\" is shown by language.")))
                    (shown.select("parent_id", lang.t("上级分类", "Parent"), &parents, ""))
                    (shown.input("sort_order", lang.t("排序", "Order"), "number", lang.t("小的在前。", "Smaller comes first.")))
                    button.primary type="submit" { (lang.t("新建", "Create")) }
                }
            }
        }
    };
    page(visitor, status, title, &body)
}

fn order_of(lang: Lang, fields: &Fields, errors: &mut Errors) -> Option<i64> {
    let text = fields.get("sort_order");
    let order = if text.is_empty() { Some(0) } else { text.parse().ok() };
    errors.need("sort_order", order, lang.t("请填写整数。", "Enter a whole number."))
}

pub(super) async fn add_category<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let mut errors = Errors::default();
    let sort_order = order_of(visitor.lang, &fields, &mut errors);
    let parent = fields.get("parent_id").parse::<CategoryId>().ok();
    if let Some(sort_order) = sort_order {
        let new = NewCategory { parent, name: fields.get("name").trim().to_owned(), sort_order };
        let adding = actions::add_category(&api, &visitor.staff, new);
        return submit(&visitor, adding, "/admin/categories", async |errors, status| {
            listed(&api, &visitor, "", (&fields, &errors), status).await
        })
        .await;
    }
    listed(&api, &visitor, "", (&fields, &errors), StatusCode::UNPROCESSABLE_ENTITY).await
}

fn fields_of(row: &Category) -> Fields {
    Fields::of([("name", row.name.clone()), ("sort_order", row.sort_order.to_string())])
}

fn edit(visitor: &Visitor, category: &Category, (fields, errors): (&Fields, &Errors)) -> Markup {
    let lang = visitor.lang;
    let errors = &errors.against(fields_of(category));
    let shown = Shown { fields, errors };
    html! {
        (heading(&category.name, &html! { a.button href="/admin/categories" { (lang.t("全部分类", "All categories")) } }))
        form.panel.stack.narrow method="post" action={ "/admin/categories/" (category.category_id) } {
            (errors.summary(lang)) (hidden(visitor))
            input type="hidden" name="version" value=(category.version);
            (shown.input("name", lang.t("名称", "Name"), "text", ""))
            (shown.input("sort_order", lang.t("排序", "Order"), "number", lang.t("小的在前。", "Smaller comes first.")))
            @if visitor.may(Role::Operator) { button.primary type="submit" { (lang.t("保存", "Save")) } }
        }
    }
}

pub(super) async fn category<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Path(id): Path<CategoryId>,
) -> Response {
    match api.store.catalogue().category(id).await {
        Ok(Some(row)) => {
            let fields = fields_of(&row);
            let body = edit(&visitor, &row, (&fields, &Errors::default()));
            page(&visitor, StatusCode::OK, &row.name, &body)
        }
        Ok(None) => missing(&visitor),
        Err(error) => failed(visitor.lang, &error.into()),
    }
}

pub(super) async fn patch_category<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<CategoryId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let mut errors = Errors::default();
    let show_again = async |errors: Errors, status| match api.store.catalogue().category(id).await {
        Ok(Some(row)) => page(&visitor, status, &row.name, &edit(&visitor, &row, (&fields, &errors))),
        Ok(None) => missing(&visitor),
        Err(error) => failed(visitor.lang, &error.into()),
    };
    let Some(sort_order) = order_of(visitor.lang, &fields, &mut errors) else {
        return show_again(errors, StatusCode::UNPROCESSABLE_ENTITY).await;
    };
    let patch = CategoryPatch { name: Some(fields.get("name").trim().to_owned()), sort_order: Some(sort_order) };
    let version = fields.get("version").parse().unwrap_or(0);
    let patching = actions::patch_category(&api, &visitor.staff, (id, version), patch);
    submit(&visitor, patching, "/admin/categories", show_again).await
}
