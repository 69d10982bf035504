//! Orders and users.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use contract::{OrderId, UserId};
use domain::order_state::{Fulfilment, OrderState};
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};
use serde::Deserialize;
use store::{Decision, Order, OrderQuery, Refund, RegisteredUser, StaffOrder, UserQuery};
use web::Path;

use super::{
    catalogue::page_at,
    form::{Errors, Fields, Posted, Shown, hidden, submit},
    frame::{failed, heading, missing, note, page},
    list::{self, Column, Filters},
    order,
    session::Visitor,
    text::{Lang, ZONE, from_local, time, yuan},
};
use crate::{
    actions::{Api, Role, orders as actions},
    mask,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    status: String,
    user: String,
    phone: String,
    sale: String,
    since: String,
    until: String,
    order: String,
    cursor: String,
}

impl ListQuery {
    /// The orders that these filters name. Who sees telephone numbers masked can't look for one.
    pub(super) fn which(&self, visitor: &Visitor) -> OrderQuery {
        let is_state = |status: &String| OrderState::ALL.iter().any(|one| one.as_str() == status);
        let phone = Some(self.phone.trim().to_owned()).filter(|phone| !phone.is_empty());
        OrderQuery {
            status: Some(self.status.clone()).filter(is_state),
            user: self.user.trim().parse().ok(),
            phone: phone.filter(|_| visitor.may(Role::Operator)),
            activity: self.sale.trim().parse().ok(),
            since_ms: from_local(&self.since),
            until_ms: from_local(&self.until),
        }
    }

    /// The filters that say nothing.
    fn wrong(&self, lang: Lang, which: &OrderQuery) -> Errors {
        let mut errors = Errors::default();
        let mut check = |name, text: &str, is_read: bool, problem| {
            if !is_read && !text.trim().is_empty() {
                errors.add(name, problem);
            }
        };
        let time = lang.t("请填写日期和时间。", "Enter a date and a time.");
        check("order", &self.order, false, lang.t("订单号是一串数字。", "An order's id is a number."));
        check("user", &self.user, which.user.is_some(), lang.t("用户编号是一串数字。", "A user's id is a number."));
        check("sale", &self.sale, which.activity.is_some(), lang.t("活动编号是一串数字。", "A sale's id is a number."));
        check("since", &self.since, which.since_ms.is_some(), time);
        check("until", &self.until, which.until_ms.is_some(), time);
        errors
    }
}

fn state_name(lang: Lang, state: &str) -> &'static str {
    match state {
        "pending_payment" => lang.t("待付款", "To be paid"),
        "paid" => lang.t("已付款", "Paid"),
        "shipped" => lang.t("已发货", "Shipped"),
        "completed" => lang.t("已完成", "Completed"),
        "refunding" => lang.t("退款中", "Refund asked"),
        "refunded" => lang.t("已退款", "Refunded"),
        "closed" => lang.t("已关闭", "Closed"),
        _ => lang.t("未成功", "Failed"),
    }
}

fn state_badge(lang: Lang, state: OrderState) -> Markup {
    let class = match state {
        OrderState::PendingPayment => "info",
        OrderState::Bought(_) => "good",
        OrderState::Refunding(_) => "warn",
        OrderState::Refunded | OrderState::Closed | OrderState::Failed => "",
    };
    html! { span class={ "badge " (class) } { (state_name(lang, state.as_str())) } }
}

pub(super) async fn list<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<ListQuery>,
) -> Response {
    let lang = visitor.lang;
    if let Ok(id) = query.order.trim().parse::<OrderId>() {
        return Redirect::to(&format!("/admin/orders/{id}")).into_response();
    }
    let which = query.which(&visitor);
    let errors = query.wrong(lang, &which);
    let listed = match api.store.orders().staff_orders(&which, page_at(&query.cursor)).await {
        Ok(listed) => listed,
        Err(error) => return failed(lang, &error.into()),
    };
    let mut states = vec![(String::new(), lang.t("全部", "All").to_owned())];
    for state in OrderState::ALL {
        if !states.iter().any(|(known, _)| known == state.as_str()) {
            states.push((state.as_str().to_owned(), state_name(lang, state.as_str()).to_owned()));
        }
    }
    let ListQuery { status, user, phone, sale, since, until, order, cursor: _ } = query;
    let pairs = [
        ("status", status),
        ("user", user),
        ("phone", phone),
        ("sale", sale),
        ("since", since),
        ("until", until),
        ("order", order),
    ];
    let filters = Filters::new(&visitor, "/admin/orders", pairs).wrong(errors);
    let title = lang.t("订单", "Orders");
    let zoned = |label: &str| format!("{label} ({ZONE})");
    let columns = [
        Column::Text(lang.t("订单号", "Order")),
        Column::Text(lang.t("状态", "State")),
        Column::Text(lang.t("商品", "Goods")),
        Column::Number(lang.t("金额", "Total")),
        Column::Text(lang.t("用户", "User")),
        Column::Text(lang.t("下单时间", "Ordered")),
    ];
    let row = |StaffOrder { order, user, .. }: &StaffOrder| {
        html! {
            td { a href={ "/admin/orders/" (order.id) } { (order.id) } }
            td { (state_badge(lang, order.state)) }
            td { (order.lines.first().map(|line| line.title.as_str()).unwrap_or_default()) @if order.lines.len() > 1 { span.muted { " +" (order.lines.len() - 1) } } }
            td.right { (yuan(order.total.get())) } td { a href={ "/admin/orders?user=" (user) } { (user) } } td { (time(order.created_at_ms)) }
        }
    };
    let body = html! {
        (heading(title, &html! { @if visitor.may(Role::Operator) {
            a.button href=(filters.address("/admin/orders/export")) { (lang.t("导出 CSV", "Export CSV")) }
            a.button href="/admin/orders/import" { (lang.t("批量发货", "Ship many")) }
        } }))
        (filters.form(|shown, lang| html! {
            (shown.input("order", lang.t("订单号", "Order id"), "search", ""))
            (shown.input("user", lang.t("用户编号", "User id"), "search", ""))
            @if visitor.may(Role::Operator) { (shown.input("phone", lang.t("用户手机号", "User's telephone"), "search", "")) }
            (shown.input("sale", lang.t("活动编号", "Sale id"), "search", ""))
            (shown.input("since", &zoned(lang.t("下单不早于", "Ordered from")), "datetime-local", ""))
            (shown.input("until", &zoned(lang.t("下单早于", "Ordered before")), "datetime-local", ""))
            (shown.select("status", lang.t("状态", "State"), &states, ""))
        }))
        (list::table(&columns, &listed, lang.t("没有符合条件的订单。", "No order matches."), row))
        (filters.pager(listed.next))
    };
    page(&visitor, StatusCode::OK, title, &body)
}

pub(super) async fn one<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Path(id): Path<OrderId>,
) -> Response {
    show(&api, &visitor, id, (&Fields::default(), &Errors::default()), StatusCode::OK).await
}

async fn show<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    id: OrderId,
    form: (&Fields, &Errors),
    status: StatusCode,
) -> Response {
    let lang = visitor.lang;
    match api.store.orders().staff_order(id).await {
        Ok(Some(order)) => {
            let title = format!("{} {id}", lang.t("订单", "Order"));
            let order = mask::order(order, visitor.staff.role);
            let timeline = match order::timeline(api, visitor, id).await {
                Ok(timeline) => timeline,
                Err(refusal) => return failed(lang, &refusal),
            };
            let body = html! {
                (detail(visitor, &order, form))
                (timeline)
                (order::refund_form(visitor, &order.order, form))
            };
            page(visitor, status, &title, &body)
        }
        Ok(None) => missing(visitor),
        Err(error) => failed(lang, &error.into()),
    }
}

fn detail(
    visitor: &Visitor,
    StaffOrder { order, user, request }: &StaffOrder,
    (fields, errors): (&Fields, &Errors),
) -> Markup {
    let lang = visitor.lang;
    let shown = Shown { fields, errors };
    let text = |value: &Option<serde_json::Value>, name: &str| {
        value.as_ref().and_then(|value| value[name].as_str()).unwrap_or_default().to_owned()
    };
    html! {
        (heading(&format!("{} {}", lang.t("订单", "Order"), order.id), &html! {
            (state_badge(lang, order.state))
            a.button href={ "/admin/orders/" (order.id) "/print" } { (lang.t("打印", "Print view")) }
        }))
        (errors.summary(lang))
        div.two.wide-left {
            section.panel.scroll { h2 { (lang.t("商品", "Goods")) }
                table {
                    thead { tr { th { (lang.t("商品", "Product")) } th.right { (lang.t("单价", "Price")) } th.right { (lang.t("数量", "Units")) } } }
                    tbody { @for line in &order.lines { tr { td { (line.title) br; span.muted { "SKU " (line.sku) } } td.right { (yuan(line.price.get())) } td.right { (line.quantity) } } } }
                    tfoot { tr { th { (lang.t("合计", "Total")) } th.right colspan="2" { (yuan(order.total.get())) } } }
                }
            }
            section.panel { h2 { (lang.t("信息", "Facts")) }
                dl.facts {
                    div { dt { (lang.t("用户", "User")) } dd { a href={ "/admin/orders?user=" (user) } { (user) } } }
                    @if let Some(activity) = order.activity { div { dt { (lang.t("秒杀活动", "Sale")) } dd { a href={ "/admin/sales/" (activity) } { (activity) } } } }
                    div { dt { (lang.t("下单", "Ordered")) } dd { (time(order.created_at_ms)) } }
                    @if order.state == OrderState::PendingPayment { div { dt { (lang.t("付款截止", "To be paid until")) } dd { (time(order.expires_at_ms)) } } }
                    @if order.address.is_some() {
                        div { dt { (lang.t("收件人", "Recipient")) } dd { (text(&order.address, "recipient")) " " (text(&order.address, "phone")) } }
                        div { dt { (lang.t("地址", "Address")) } dd { (text(&order.address, "region")) " " (text(&order.address, "detail")) } }
                    }
                    @if order.shipment.is_some() { div { dt { (lang.t("物流", "Shipment")) } dd { (text(&order.shipment, "carrier")) " " (text(&order.shipment, "tracking_no")) } } }
                }
            }
        }
        @if visitor.may(Role::Operator) && order.state == OrderState::Bought(Fulfilment::Paid) {
            form.panel.stack.narrow method="post" action={ "/admin/orders/" (order.id) "/ship" } {
                h2 { (lang.t("发货", "Ship")) } (hidden(visitor))
                div.pair { (shown.input("carrier", lang.t("快递公司", "Carrier"), "text", "")) (shown.input("tracking_no", lang.t("运单号", "Tracking number"), "text", "")) }
                button.primary type="submit" { (lang.t("标记为已发货", "Mark as shipped")) }
            }
        }
        @if let (true, Some(request)) = (visitor.may(Role::Admin), request) {
            @let path = format!("/admin/orders/{}/refund?refund={}", order.id, request.id);
            section.panel.stack.narrow { h2 { (lang.t("退款申请", "Refund")) }
                (request_facts(lang, request, order))
                div.row.wrap {
                    a.button.primary href={ (path) "&decision=approve" } { (lang.t("同意退款", "Approve")) }
                    a.button href={ (path) "&decision=refuse" } { (lang.t("拒绝退款", "Refuse")) }
                }
            }
        }
    }
}

/// What a buyer wants to have back, and why.
fn request_facts(lang: Lang, request: &Refund, order: &Order) -> Markup {
    let line = |line_no: &u32| line_no.checked_sub(1).and_then(|at| order.lines.get(at as usize));
    html! {
        dl.facts {
            div { dt { (lang.t("退款金额", "Amount")) } dd { (yuan(request.amount.get())) " / " (yuan(order.total.get())) } }
            div { dt { (lang.t("退款商品", "Units")) } dd {
                @if request.lines.is_empty() { (lang.t("未指定商品", "no certain units")) }
                @for (line_no, quantity) in &request.lines {
                    div { (line(line_no).map(|line| line.title.as_str()).unwrap_or_default()) " × " (quantity) }
                }
            } }
            div { dt { (lang.t("申请理由", "Reason")) } dd { @if request.reason.is_empty() { "–" } @else { (request.reason) } } }
            div { dt { (lang.t("申请时间", "Requested")) } dd { (time(request.created_at_ms)) } }
        }
    }
}

pub(super) async fn ship<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<OrderId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let shipping = actions::ship(&api, &visitor.staff, id, (fields.get("carrier"), fields.get("tracking_no")));
    submit(&visitor, shipping, &format!("/admin/orders/{id}"), async |errors, status| {
        show(&api, &visitor, id, (&fields, &errors), status).await
    })
    .await
}

pub(super) async fn ask_refund<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<OrderId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let asking = async {
        let of = order::wanted(visitor.lang, &fields)?;
        actions::ask_refund(&api, &visitor.staff, id, (&of, fields.get("reason"))).await
    };
    submit(&visitor, asking, &format!("/admin/orders/{id}"), async |errors, status| {
        show(&api, &visitor, id, (&fields, &errors), status).await
    })
    .await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DecisionQuery {
    decision: String,
    /// The refund that is decided.
    refund: String,
}

/// A page that asks before something is done.
fn question(
    visitor: &Visitor,
    (title, text): (&str, &Markup),
    action: &str,
    values: &[(&str, &str)],
    back: &str,
) -> Response {
    let lang = visitor.lang;
    let body = html! {
        form.panel.stack.narrow method="post" action=(action) {
            h1 { (title) }
            (text)
            (hidden(visitor)) @for (name, value) in values { input type="hidden" name=(name) value=(value); }
            div.row.wrap { button.primary type="submit" { (title) } a.button href=(back) { (lang.t("取消", "Cancel")) } }
        }
    };
    page(visitor, StatusCode::OK, title, &body)
}

pub(super) async fn confirm_refund<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Path(id): Path<OrderId>,
    Query(query): Query<DecisionQuery>,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let (order, request) = match api.store.orders().staff_order(id).await {
        Ok(Some(StaffOrder { order, request, .. })) => (order, request),
        Ok(None) => return missing(&visitor),
        Err(error) => return failed(visitor.lang, &error.into()),
    };
    let path = format!("/admin/orders/{id}");
    // Decided by somebody else meanwhile, or replaced by another request: the order's page shows how it is now.
    let Some(request) = request.filter(|request| request.id.to_string() == query.refund) else {
        return Redirect::to(&path).into_response();
    };
    let lang = visitor.lang;
    let (title, text) = if query.decision == "approve" {
        let text = lang.t("退回买家的金额：", "The money goes back to the buyer:");
        (lang.t("同意退款", "Approve the refund"), format!("{text} {}", yuan(request.amount.get())))
    } else {
        let text = lang.t(
            "订单回到申请之前的状态，不退钱。",
            "The order goes back to the state before the request, and no money moves.",
        );
        (lang.t("拒绝退款", "Refuse the refund"), text.to_owned())
    };
    let text = html! { (request_facts(lang, &request, &order)) p.consequence { (text) } };
    let values = [("decision", query.decision.as_str()), ("refund", query.refund.as_str())];
    question(&visitor, (title, &text), &format!("{path}/refund"), &values, &path)
}

pub(super) async fn refund<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<OrderId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let decision = match fields.get("decision") {
        "approve" => Decision::Approve { restock: true },
        "refuse" => Decision::Refuse,
        _ => return missing(&visitor),
    };
    let Ok(request) = fields.get("refund").parse() else { return missing(&visitor) };
    let deciding = actions::decide_refund(&api, &visitor.staff, (id, Some(request)), decision);
    submit(&visitor, deciding, &format!("/admin/orders/{id}"), async |errors, status| {
        show(&api, &visitor, id, (&fields, &errors), status).await
    })
    .await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UsersQuery {
    name: String,
    blocked: String,
    cursor: String,
}

pub(super) async fn users<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Query(query): Query<UsersQuery>,
) -> Response {
    let lang = visitor.lang;
    let which = UserQuery {
        name: Some(query.name.trim().to_owned()).filter(|name| !name.is_empty()),
        blocked: match query.blocked.as_str() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        },
    };
    let listed = match api.store.accounts().find_users(&which, page_at(&query.cursor)).await {
        Ok(listed) => listed,
        Err(error) => return failed(lang, &error.into()),
    };
    let filters = Filters::new(&visitor, "/admin/users", [("name", query.name), ("blocked", query.blocked)]);
    let states = list::choices([
        ("", lang.t("全部", "All")),
        ("no", lang.t("正常", "Active")),
        ("yes", lang.t("已封禁", "Blocked")),
    ]);
    let title = lang.t("用户", "Users");
    let columns = [
        Column::Text(lang.t("用户", "User")),
        Column::Text(lang.t("电话", "Phone")),
        Column::Text(lang.t("状态", "State")),
        Column::Text(lang.t("注册时间", "Registered")),
        Column::Text(""),
    ];
    let row = |row: &RegisteredUser| {
        let row = mask::user(row.clone(), visitor.staff.role);
        html! {
            td { (row.user.username) br; a.muted href={ "/admin/orders?user=" (row.user.id) } { (row.user.id) } }
            td { (row.user.phone.as_deref().unwrap_or("–")) }
            td { @if row.blocked { span.badge.bad { (lang.t("已封禁", "Blocked")) } } @else { span.badge.good { (lang.t("正常", "Active")) } } }
            td { (time(row.user.created_at_ms)) }
            td.right { @if visitor.may(Role::Admin) {
                @let (to, label) = if row.blocked { ("off", lang.t("解封", "Unblock")) } else { ("on", lang.t("封禁", "Block")) };
                a.button href={ "/admin/users/" (row.user.id) "/block?decision=" (to) } { (label) }
            } }
        }
    };
    let body = html! {
        (heading(title, &html! {}))
        (filters.form(|shown, lang| html! {
            (shown.input("name", lang.t("用户名开头", "Name begins with"), "search", ""))
            (shown.select("blocked", lang.t("状态", "State"), &states, ""))
        }))
        (list::table(&columns, &listed, lang.t("没有符合条件的用户。", "No user matches."), row))
        (filters.pager(listed.next))
    };
    page(&visitor, StatusCode::OK, title, &body)
}

pub(super) async fn confirm_block<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    Path(id): Path<UserId>,
    Query(query): Query<DecisionQuery>,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let user = match api.store.accounts().user(id).await {
        Ok(Some(user)) => user,
        Ok(None) => return missing(&visitor),
        Err(error) => return failed(visitor.lang, &error.into()),
    };
    let lang = visitor.lang;
    let (title, text) = if query.decision == "on" {
        (
            lang.t("封禁用户", "Block the user"),
            lang.t("不能再登录，所有会话立即结束。", "cannot sign in any more, and all sessions end now."),
        )
    } else {
        (lang.t("解封用户", "Unblock the user"), lang.t("可以重新登录。", "can sign in again."))
    };
    let text = html! { p.consequence { (user.username) ": " (text) } };
    let values = [("on", query.decision.as_str())];
    question(&visitor, (title, &text), &format!("/admin/users/{id}/block"), &values, "/admin/users")
}

pub(super) async fn block<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<UserId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Admin) {
        return refused;
    }
    let blocking = actions::block(&api, &visitor.staff, id, fields.is_on("on"));
    submit(&visitor, blocking, "/admin/users", async |errors, status| note(&visitor, &errors, status)).await
}
