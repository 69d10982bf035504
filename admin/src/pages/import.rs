//! Files that staff send: a dry run that shows what each row does or why it can't, and then the rows themselves. The
//! checked text comes back with the confirmation, so that nothing is kept here and what was checked is what is done.

use axum::{
    extract::{FromRequest, Multipart, Request, State, multipart::MultipartRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use foundation::Clock;
use ledger::LedgerClient;
use maud::{Markup, html};

use super::{
    form::{Upload, hidden, log_failure, reason},
    frame::{failed, heading, page, refused, status_of},
    session::Visitor,
    text::Lang,
};
use crate::{
    actions::{
        Api, Role,
        table::{self, Column, Effect, FileError, Mode, Problem, Report, Table},
    },
    csv::{self, CSV_BYTES_MAX, CSV_ROWS_MAX, CsvError},
};

/// Rows of a report that a page shows; those with problems come first.
const ROWS_SHOWN: usize = 200;

/// What a file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Products,
    Shipments,
}

impl Kind {
    const fn path(self) -> &'static str {
        match self {
            Self::Products => "/admin/products/import",
            Self::Shipments => "/admin/orders/import",
        }
    }

    const fn list(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Products => ("/admin/products", "全部商品", "All products"),
            Self::Shipments => ("/admin/orders?status=paid", "待发货订单", "Orders to ship"),
        }
    }

    const fn title(self, lang: Lang) -> &'static str {
        match self {
            Self::Products => lang.t("导入商品", "Import products"),
            Self::Shipments => lang.t("批量发货", "Ship many orders"),
        }
    }

    const fn columns(self) -> &'static [Column] {
        match self {
            Self::Products => &table::products::COLUMNS,
            Self::Shipments => &table::shipments::COLUMNS,
        }
    }

    const fn hint(self, lang: Lang) -> &'static str {
        match self {
            Self::Products => lang.t(
                "一行一个规格。已有的规格按 sku_id，或按分类、名称和属性识别并更新；它们的库存不变。空单元格不改动。",
                "One row for each SKU. Existing SKUs are found by sku_id, or by category, title and attributes, and are updated; their stock is not. Blank cells change nothing.",
            ),
            Self::Shipments => lang.t(
                "一行一个订单。先导出待发货订单，填写快递公司和运单号，再导入。",
                "One row for each order. Export the orders to ship, fill in carrier and tracking number, and import the file.",
            ),
        }
    }
}

pub(super) async fn products_form(visitor: Visitor) -> Response {
    start(&visitor, Kind::Products, None, StatusCode::OK)
}

pub(super) async fn shipments_form(visitor: Visitor) -> Response {
    start(&visitor, Kind::Shipments, None, StatusCode::OK)
}

fn start(visitor: &Visitor, kind: Kind, error: Option<&str>, status: StatusCode) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Operator) {
        return refused;
    }
    let lang = visitor.lang;
    let body = html! {
        (heading(kind.title(lang), &html! { (back(lang, kind)) }))
        (upload_form(visitor, kind, error))
    };
    page(visitor, status, kind.title(lang), &body)
}

fn back(lang: Lang, kind: Kind) -> Markup {
    let (path, zh, en) = kind.list();
    html! { a.button href=(path) { (lang.t(zh, en)) } }
}

fn upload_form(visitor: &Visitor, kind: Kind, error: Option<&str>) -> Markup {
    let lang = visitor.lang;
    let limits = match lang {
        Lang::Zh => format!("CSV 文件，UTF-8 或 GBK，最大 {} MiB，最多 {CSV_ROWS_MAX} 行。", CSV_BYTES_MAX >> 20),
        Lang::En => format!("A CSV file in UTF-8 or GBK, {} MiB and {CSV_ROWS_MAX} rows at most.", CSV_BYTES_MAX >> 20),
    };
    html! {
        form.panel.stack method="post" enctype="multipart/form-data" action=(kind.path()) {
            @if let Some(error) = error { p.error role="alert" { (error) } }
            (hidden(visitor))
            p { (kind.hint(lang)) }
            p.muted { (lang.t("列：", "Columns: ")) @for column in kind.columns() { code { (column.name) } @if column.is_needed { "* " } @else { " " } } }
            div.field { label for="file" { (lang.t("文件", "File")) }
                input #file type="file" name="file" accept=".csv,text/csv" required;
                p.hint { (limits) " " (lang.t("先检查，不会改动任何内容。", "The file is checked first; nothing is changed.")) } }
            button.primary type="submit" { (lang.t("检查文件", "Check the file")) }
        }
    }
}

pub(super) async fn products<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    request: Request,
) -> Response {
    take(&api, &visitor, Kind::Products, request).await
}

pub(super) async fn shipments<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    visitor: Visitor,
    request: Request,
) -> Response {
    take(&api, &visitor, Kind::Shipments, request).await
}

/// A file to check, or the text of a checked one to carry out.
async fn take<K: LedgerClient, C: Clock>(api: &Api<K, C>, visitor: &Visitor, kind: Kind, request: Request) -> Response {
    if let Some(refused) = visitor.refused_below(Role::Operator) {
        return refused;
    }
    let lang = visitor.lang;
    let form: Result<Multipart, MultipartRejection> = Multipart::from_request(request, api).await;
    let Ok(form) = form else { return refused(visitor) };
    let upload = match Upload::read(form, 1, CSV_BYTES_MAX).await {
        Ok(upload) => upload,
        Err(refusal) => return start(visitor, kind, Some(&reason(lang, &refusal)), status_of(&refusal)),
    };
    if upload.fields.get("csrf") != visitor.csrf {
        return refused(visitor);
    }
    let mode = if upload.fields.get("do") == "carry_out" { Mode::CarryOut } else { Mode::DryRun };
    let text = match (mode, upload.files.first()) {
        (Mode::CarryOut, _) => Ok(upload.fields.get("csv").to_owned()),
        (Mode::DryRun, Some(file)) if file.is_cut => {
            return start(visitor, kind, Some(&too_long(lang)), StatusCode::PAYLOAD_TOO_LARGE);
        }
        (Mode::DryRun, Some(file)) => csv::decode(&file.bytes).map_err(FileError::Csv),
        (Mode::DryRun, None) => Err(FileError::Csv(CsvError::Empty)),
    };
    let table = text.and_then(|text| Table::read(&text, kind.columns()).map(|table| (table, text)));
    let (table, text) = match table {
        Ok(read) => read,
        Err(error) => {
            return start(visitor, kind, Some(&file_error(lang, &error)), StatusCode::UNPROCESSABLE_ENTITY);
        }
    };
    let reports = async {
        let _turn = if mode == Mode::CarryOut { Some(table::turn(api)?) } else { None };
        match kind {
            Kind::Products => table::products::run(api, &visitor.staff, &table, mode).await,
            Kind::Shipments => Ok(table::shipments::run(api, &visitor.staff, &table, mode).await),
        }
    };
    match reports.await {
        Ok(reports) => show(visitor, kind, (mode, &table.ignored, &text), &reports),
        Err(refusal) => {
            log_failure(&refusal);
            failed(lang, &refusal)
        }
    }
}

fn too_long(lang: Lang) -> String {
    match lang {
        Lang::Zh => format!("文件超过 {} MiB，请拆分后分别导入。没有导入任何内容。", CSV_BYTES_MAX >> 20),
        Lang::En => {
            format!(
                "The file is longer than {} MiB. Split it, and import the parts. Nothing was imported.",
                CSV_BYTES_MAX >> 20
            )
        }
    }
}

fn file_error(lang: Lang, error: &FileError) -> String {
    match error {
        FileError::Csv(CsvError::Empty) => lang.t("文件是空的。", "The file is empty.").to_owned(),
        FileError::Csv(CsvError::NotText) => lang
            .t(
                "不是 UTF-8 或 GBK 编码的文本。如果是表格文件，请另存为 CSV。",
                "The file is no text in UTF-8 or GBK. Save a workbook as CSV first.",
            )
            .to_owned(),
        FileError::Csv(CsvError::OpenQuote { line }) => match lang {
            Lang::Zh => format!("第 {line} 行的引号没有结束，之后的内容都在同一个单元格里。没有导入任何内容。"),
            Lang::En => format!(
                "The quote that opens on line {line} is never closed, so the rest of the file is one cell. Nothing was imported."
            ),
        },
        FileError::Csv(CsvError::TooManyRows) => match lang {
            Lang::Zh => format!("文件超过 {CSV_ROWS_MAX} 行，请拆分。"),
            Lang::En => format!("The file has more than {CSV_ROWS_MAX} rows. Split it."),
        },
        FileError::Csv(CsvError::TooManyColumns) => lang.t("列太多。", "The file has too many columns.").to_owned(),
        FileError::MissingColumns(columns) => {
            let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
            format!("{} {}", lang.t("文件缺少这些列：", "The file lacks these columns:"), names.join(", "))
        }
        FileError::RepeatedColumn(name) => {
            format!("{} {name}", lang.t("文件里有两列同名：", "The file has two columns of this name:"))
        }
        FileError::NoRows => lang.t("文件只有表头。", "The file has a header and no row.").to_owned(),
    }
}

fn effect(lang: Lang, effect: &Effect, mode: Mode) -> String {
    let is_done = mode == Mode::CarryOut;
    match effect {
        Effect::NewProduct if is_done => lang.t("已新建商品和规格", "Product and SKU created").to_owned(),
        Effect::NewProduct => lang.t("新商品和规格", "New product and SKU").to_owned(),
        Effect::NewSku if is_done => lang.t("已新建规格", "SKU created").to_owned(),
        Effect::NewSku => lang.t("新规格", "New SKU").to_owned(),
        Effect::Changes(columns) => {
            format!(
                "{} {}",
                if is_done { lang.t("已更新", "Changed:") } else { lang.t("更新", "Changes") },
                columns.join(", ")
            )
        }
        Effect::Ships if is_done => lang.t("已发货", "Shipped").to_owned(),
        Effect::Ships => lang.t("发货", "Ships").to_owned(),
        Effect::Nothing => lang.t("无改动", "No change").to_owned(),
    }
}

fn problem(lang: Lang, problem: &Problem) -> String {
    match problem {
        Problem::Torn => lang.t("引号不成对", "A quote is missing or superfluous").to_owned(),
        Problem::Cells { found, expected } => match lang {
            Lang::Zh => format!("有 {found} 个单元格，应为 {expected} 个"),
            Lang::En => format!("The row has {found} cells instead of {expected}"),
        },
        Problem::Value { column, detail } => format!("{column}: {detail}"),
        Problem::Missing(column) => format!("{column}: {}", lang.t("必填", "it is needed")),
        Problem::UnknownCategory(name) => format!("{} {name}", lang.t("没有这个分类：", "There is no such category:")),
        Problem::AmbiguousCategory(name) => {
            format!(
                "{} {name}",
                lang.t("有多个同名分类，请填分类编号：", "Several categories have this name; write the id of one:")
            )
        }
        Problem::Repeats(line) => format!("{} {line}", lang.t("与该行重复：第", "The same as line")),
        Problem::Contradicts { line, column } => match lang {
            Lang::Zh => format!("{column} 与同一商品的第 {line} 行不一致"),
            Lang::En => format!("{column} is another one than on line {line}, of the same product"),
        },
        Problem::UnknownSku => lang.t("没有这个 sku_id", "There is no such sku_id").to_owned(),
        Problem::UnknownOrder => lang.t("没有这个订单", "There is no such order").to_owned(),
        Problem::NotToShip(state) => {
            format!("{} {state}", lang.t("订单状态不能发货：", "The order can't be shipped, it is"))
        }
        Problem::NoAddress => lang.t("订单没有收货地址", "The order has no address").to_owned(),
        Problem::Refused(refusal) => reason(lang, refusal),
        Problem::NoTimeLeft => lang.t("尚未处理", "Not done yet").to_owned(),
    }
}

fn show(visitor: &Visitor, kind: Kind, (mode, ignored, text): (Mode, &[String], &str), reports: &[Report]) -> Response {
    let lang = visitor.lang;
    let count = |is: fn(&Result<Effect, Problem>) -> bool| reports.iter().filter(|report| is(&report.outcome)).count();
    let wrong = count(|outcome| outcome.is_err());
    let same = count(|outcome| matches!(outcome, Ok(Effect::Nothing)));
    let left = count(|outcome| matches!(outcome, Err(Problem::NoTimeLeft)));
    let good = reports.len() - wrong - same;
    let (wrong_first, others): (Vec<&Report>, Vec<&Report>) =
        reports.iter().partition(|report| report.outcome.is_err());
    let is_done = mode == Mode::CarryOut;
    let title = if is_done {
        lang.t("导入结果", "What was imported")
    } else {
        lang.t("检查结果", "What the file would do")
    };
    let body = html! {
        (heading(title, &html! { (back(lang, kind)) }))
        ul.figures {
            li { span.figure { strong #rows-good { (good) } span { @if is_done { (lang.t("行已导入", "Rows imported")) } @else { (lang.t("行可导入", "Rows to import")) } } } }
            li { span.figure { strong #rows-same { (same) } span { (lang.t("行无改动", "Rows without a change")) } } }
            li.bad[wrong > 0] { span.figure { strong #rows-wrong { (wrong) } span { (lang.t("行有问题", "Rows with a problem")) } } }
        }
        @if !ignored.is_empty() { p.panel { (lang.t("忽略的列：", "Columns that are ignored: ")) (ignored.join(", ")) } }
        @if (!is_done && good > 0) || left > 0 {
            form.panel.stack method="post" enctype="multipart/form-data" action=(kind.path()) {
                (hidden(visitor))
                input type="hidden" name="do" value="carry_out";
                textarea name="csv" hidden aria-hidden="true" { "\n" (text) }
                p { @if left > 0 { (lang.t("时间到了，其余的行还没有处理。", "The time of one request is over, and some rows are left.")) }
                    @else if wrong > 0 { (lang.t("有问题的行会跳过。", "Rows with a problem are left out.")) }
                    @else { (lang.t("所有行都可以导入。", "Every row can be imported.")) } }
                button.primary type="submit" {
                    @if left > 0 { (lang.t("继续", "Continue")) } @else { (lang.t("导入", "Import")) " " (good) " " (lang.t("行", "rows")) } }
            }
        }
        (rows(lang, mode, &wrong_first, &others))
        @if !is_done { details.panel { summary { (lang.t("换一个文件", "Choose another file")) } (upload_form(visitor, kind, None)) } }
    };
    page(visitor, StatusCode::OK, title, &body).into_response()
}

fn rows(lang: Lang, mode: Mode, wrong: &[&Report], others: &[&Report]) -> Markup {
    let shown = wrong.iter().chain(others).take(ROWS_SHOWN);
    let more = (wrong.len() + others.len()).saturating_sub(ROWS_SHOWN);
    html! {
        div.panel.scroll tabindex="0" { table #rows {
            thead { tr { th.right { (lang.t("行", "Line")) } th { (lang.t("内容", "Row")) } th { (lang.t("结果", "Result")) } } }
            tbody { @for report in shown {
                tr { td.right { (report.line) } td { (report.subject) }
                    td { @match &report.outcome {
                        Ok(done) => (effect(lang, done, mode)),
                        Err(why) => span.field-error { (problem(lang, why)) },
                    } } }
            } }
        } }
        @if more > 0 { p.muted { (lang.t("未显示的行：", "Rows that are not shown: ")) (more) } }
    }
}
