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
    let parent = row.parent_id.map(|id| id.to_string()).unwrap_or_default();
    Fields::of([("name", row.name.clone()), ("parent_id", parent), ("sort_order", row.sort_order.to_string())])
}

/// The page of a category with its form as it is, or as it was refused.
async fn edit<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    id: CategoryId,
    refused: Option<(&Fields, &Errors, StatusCode)>,
) -> Response {
    let lang = visitor.lang;
    let read = async {
        let row = api.store.catalogue().category(id).await?;
        Ok::<_, Refusal>((row, choices(api, Some(lang.t("（顶级）", "(top level)"))).await?))
    };
    let (category, mut parents) = match read.await {
        Ok((Some(category), parents)) => (category, parents),
        Ok((None, _)) => return missing(visitor),
        Err(refusal) => return failed(lang, &refusal),
    };
    let itself = id.to_string();
    parents.retain(|(value, _)| *value != itself);
    let (clean, now) = (Errors::default(), fields_of(&category));
    let (fields, errors, status) = refused.unwrap_or((&now, &clean, StatusCode::OK));
    page(visitor, status, &category.name, &form_of(visitor, &category, &parents, (fields, errors)))
}

fn form_of(
    visitor: &Visitor,
    category: &Category,
    parents: &[(String, String)],
    (fields, errors): (&Fields, &Errors),
) -> Markup {
    let lang = visitor.lang;
    let errors = &errors.against(fields_of(category));
    let shown = Shown { fields, errors };
    html! {
        (heading(&category.name, &html! { a.button href="/admin/categories" { (lang.t("全部分类", "All categories")) } }))
        form.panel.stack.narrow method="post" action={ "/admin/categories/" (category.category_id) } {
            (errors.summary(lang)) (hidden(visitor))
            input type="hidden" name="version" value=(category.version);
            (shown.input("name", lang.t("名称", "Name"), "text", ""))
            (shown.select("parent_id", lang.t("上级分类", "Parent"), parents, lang.t("分类和下级分类一起移动。", "Categories below it move with it.")))
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
    edit(&api, &visitor, id, None).await
}

pub(super) async fn patch_category<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<CategoryId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let mut errors = Errors::default();
    let show_again = async |errors: Errors, status| edit(&api, &visitor, id, Some((&fields, &errors, status))).await;
    let Some(sort_order) = order_of(visitor.lang, &fields, &mut errors) else {
        return show_again(errors, StatusCode::UNPROCESSABLE_ENTITY).await;
    };
    let patch = CategoryPatch { name: Some(fields.get("name").trim().to_owned()), sort_order: Some(sort_order) };
    let version = fields.get("version").parse().unwrap_or(0);
    // A form that names no parent leaves the category where it is.
    let named = fields.all("parent_id").next();
    let parent = named.map(|parent| parent.parse::<CategoryId>().ok());
    let patching = actions::move_category(&api, &visitor.staff, (id, version), (patch, parent));
    submit(&visitor, patching, "/admin/categories", show_again).await
}
