//! Lists: filters in the address, a table, and the way to the next page.

use maud::{Markup, PreEscaped, html};
use store::Listed;

use super::{
    form::{Errors, Fields, Shown},
    frame::pager,
    session::Visitor,
    text::Lang,
};

/// The filters of a list, as its address holds them.
pub(super) struct Filters<'a> {
    visitor: &'a Visitor,
    path: &'static str,
    fields: Fields,
    errors: Errors,
    query: String,
}

impl<'a> Filters<'a> {
    pub(super) fn new<const N: usize>(
        visitor: &'a Visitor,
        path: &'static str,
        pairs: [(&'static str, String); N],
    ) -> Self {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        Self { visitor, path, fields: Fields::of(pairs), errors: Errors::default(), query }
    }

    /// With filters that can't be, marked at their fields.
    pub(super) fn wrong(self, errors: Errors) -> Self {
        Self { errors, ..self }
    }

    /// The form with the inputs that `inputs` makes.
    pub(super) fn form(&self, inputs: impl FnOnce(Shown<'_>, Lang) -> Markup) -> Markup {
        let lang = self.visitor.lang;
        html! {
            form.panel.filters method="get" action=(self.path) {
                (inputs(Shown { fields: &self.fields, errors: &self.errors }, lang))
                button type="submit" { (lang.t("筛选", "Filter")) }
            }
        }
    }

    /// The address of the list with these filters, below `path`.
    pub(super) fn address(&self, path: &str) -> String {
        format!("{path}?{}", self.query)
    }

    pub(super) fn pager(&self, next: Option<i64>) -> Markup {
        pager(self.visitor, (self.path, &self.query), next)
    }
}

/// A column of a table; numbers are to the right.
#[derive(Clone, Copy)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
    /// Boxes that select rows.
    Select,
}

/// A table with a row of cells for each of `listed`, or `empty`.
pub(super) fn table<T>(columns: &[Column], listed: &Listed<T>, empty: &str, row: impl Fn(&T) -> Markup) -> Markup {
    html! {
        div.panel.scroll { table.list {
            thead { tr { @for column in columns {
                @match column {
                    Column::Text(name) => th { (name) },
                    Column::Number(name) => th.right { (name) },
                    Column::Select => th.select {},
                }
            } } }
            tbody {
                @for item in &listed.items { tr { (labelled(columns, row(item))) } }
                @if listed.items.is_empty() { tr { td colspan=(columns.len()) { (empty) } } }
            }
        } }
    }
}

/// The cells of a row with the names of their columns, which narrow screens show in place of the head. Text is escaped in
/// `cells`, so that every `<td` in it begins a cell.
fn labelled(columns: &[Column], cells: Markup) -> Markup {
    let cells = cells.into_string();
    let mut parts = cells.split("<td");
    let mut labelled = parts.next().unwrap_or_default().to_owned();
    for (cell, column) in parts.zip(columns) {
        let name = match column {
            Column::Text(name) | Column::Number(name) => *name,
            Column::Select => "",
        };
        labelled.push_str(&html! { td data-label=(name) {} }.into_string().replace("></td>", ""));
        labelled.push_str(cell);
    }
    PreEscaped(labelled)
}

/// Choices of a field: value and label.
pub(super) fn choices<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(value, label)| (value.to_owned(), label.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_names_of_their_columns() {
        let columns = [Column::Select, Column::Text("Sale"), Column::Number("Units")];
        let cells = html! { td.select { "☐" } td { a href="/1" { "<td>" } } td.right { "7" } };
        let expect = r#"<td data-label="" class="select">☐</td><td data-label="Sale"><a href="/1">&lt;td&gt;</a></td><td data-label="Units" class="right">7</td>"#;
        assert_eq!(labelled(&columns, cells).into_string(), expect);
    }
}
