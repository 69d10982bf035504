//! CSV as spreadsheets write it: in UTF-8, UTF-16 or GBK, with commas, semicolons or tabs.
//!
//! The reader is stricter than usual about quotes. A quote that is never closed takes the rest of the file into one cell,
//! and most readers report no error for it.

use encoding_rs::{Encoding, GB18030, UTF_8};

/// The longest file that is read, in bytes.
pub(crate) const CSV_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Rows of a file below its header.
pub(crate) const CSV_ROWS_MAX: usize = 1_000;
/// Columns of a file.
const COLUMNS_MAX: usize = 50;
/// Spreadsheets run a cell that begins with one of these as a formula.
const FORMULA_SIGNS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Why a file can't be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CsvError {
    Empty,
    /// Neither UTF-8, UTF-16 nor GBK, or not a text: a workbook, for example.
    NotText,
    /// The quote that opens on this line is never closed.
    OpenQuote {
        line: usize,
    },
    TooManyRows,
    TooManyColumns,
}

/// A row and the line of the file that it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) cells: Vec<String>,
    /// Something follows a closing quote within a cell: a quote is missing or superfluous.
    pub(crate) is_torn: bool,
}

/// The text of a file, whatever its encoding.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, CsvError> {
    let (encoding, bytes) = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => (encoding, &bytes[length..]),
        None if std::str::from_utf8(bytes).is_ok() => (UTF_8, bytes),
        None => (GB18030, bytes),
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes).ok_or(CsvError::NotText)?;
    let is_binary = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
    if text.contains(is_binary) {
        return Err(CsvError::NotText);
    }
    Ok(text.into_owned())
}

/// All rows that are not blank; the first one is the header.
pub(crate) fn rows(text: &str) -> Result<Vec<Row>, CsvError> {
    let mut reader = Reader::new(delimiter_of(text));
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        // A line ends with CR LF, LF or CR.
        let c = if c == '\r' { chars.next_if_eq(&'\n').unwrap_or('\n') } else { c };
        reader.take(c)?;
    }
    reader.finish()
}

/// The delimiter that the header has most of, outside of quotes.
fn delimiter_of(text: &str) -> char {
    let mut counts = [(',', 0), (';', 0), ('\t', 0)];
    let mut is_quoted = false;
    for c in text.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            '\r' | '\n' if !is_quoted => break,
            _ if !is_quoted => counts.iter_mut().filter(|(known, _)| *known == c).for_each(|(_, count)| *count += 1),
            _ => {}
        }
    }
    let [first, rest @ ..] = counts;
    rest.into_iter().fold(first, |best, next| if next.1 > best.1 { next } else { best }).0
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    CellStart,
    Plain,
    Quoted,
    /// After a quote within a quoted cell: it ends the cell, or it is the first one of two.
    Quote,
}

struct Reader {
    delimiter: char,
    at: At,
    /// The line that is read, from 1.
    line: usize,
    quote_line: usize,
    row: Row,
    cell: String,
    rows: Vec<Row>,
}

impl Reader {
    const fn new(delimiter: char) -> Self {
        let row = Row { line: 1, cells: Vec::new(), is_torn: false };
        Self { delimiter, at: At::CellStart, line: 1, quote_line: 1, row, cell: String::new(), rows: Vec::new() }
    }

    fn take(&mut self, c: char) -> Result<(), CsvError> {
        match (self.at, c) {
            (At::Quoted, '"') => self.at = At::Quote,
            (At::Quoted, c) => self.cell.push(c),
            (At::CellStart, '"') => (self.at, self.quote_line) = (At::Quoted, self.line),
            (At::Quote, '"') => {
                self.cell.push('"');
                self.at = At::Quoted;
            }
            (At::CellStart | At::Plain | At::Quote, '\n') => self.end_row()?,
            (At::CellStart | At::Plain | At::Quote, c) if c == self.delimiter => self.end_cell()?,
            (At::CellStart | At::Plain, c) => {
                self.cell.push(c);
                self.at = At::Plain;
            }
            (At::Quote, c) => {
                self.cell.push(c);
                self.row.is_torn |= !c.is_whitespace();
            }
        }
        if c == '\n' {
            self.line += 1;
            if self.at == At::CellStart && self.row.cells.is_empty() {
                self.row.line = self.line;
            }
        }
        Ok(())
    }

    fn end_cell(&mut self) -> Result<(), CsvError> {
        if self.row.cells.len() == COLUMNS_MAX {
            return Err(CsvError::TooManyColumns);
        }
        self.row.cells.push(std::mem::take(&mut self.cell).trim().to_owned());
        self.at = At::CellStart;
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), CsvError> {
        self.end_cell()?;
        let next = Row { line: self.line, cells: Vec::new(), is_torn: false };
        let row = std::mem::replace(&mut self.row, next);
        if row.cells.iter().all(String::is_empty) {
            return Ok(());
        }
        if self.rows.len() > CSV_ROWS_MAX {
            return Err(CsvError::TooManyRows);
        }
        self.rows.push(row);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Row>, CsvError> {
        if self.at == At::Quoted {
            return Err(CsvError::OpenQuote { line: self.quote_line });
        }
        if self.at != At::CellStart || !self.row.cells.is_empty() {
            self.end_row()?;
        }
        if self.rows.is_empty() { Err(CsvError::Empty) } else { Ok(self.rows) }
    }
}

/// A line of a file for spreadsheets. No cell is run as a formula.
pub(crate) fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cell = |cell: &str| {
        let cell =
            if is_marked(cell) || cell.starts_with(FORMULA_SIGNS) { format!("'{cell}") } else { cell.to_owned() };
        let is_quoted = cell.contains([',', ';', '\t', '"', '\r', '\n']);
        if is_quoted { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
    };
    cells.into_iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n"
}

/// Whether an apostrophe keeps a spreadsheet from running the cell, as [`line`] and people write it.
fn is_marked(cell: &str) -> bool {
    cell.strip_prefix('\'').is_some_and(|rest| rest.starts_with('\'') || rest.starts_with(FORMULA_SIGNS))
}

/// The text of a cell that [`line`] may have marked.
pub(crate) fn unmarked(cell: &str) -> &str {
    if is_marked(cell) { &cell[1..] } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<Vec<String>> {
        rows(text).unwrap().into_iter().map(|row| row.cells).collect()
    }

    #[test]
    fn cells_are_read_in_every_usual_dialect() {
        for (text, expect) in [
            ("a,b\r\n1,2\r\n", vec![["a", "b"], ["1", "2"]]),
            ("a;b\n1;2", vec![["a", "b"], ["1", "2"]]),
            ("a\tb\r1\t2", vec![["a", "b"], ["1", "2"]]),
            ("a,b\n\"1,\"\"x\"\"\",\" 2\n3 \"\n", vec![["a", "b"], ["1,\"x\"", "2\n3"]]),
            ("a,b\n\n,\n5\" disk,2\n", vec![["a", "b"], ["5\" disk", "2"]]),
        ] {
            assert_eq!(cells(text), expect, "{text:?}");
        }
    }

    #[test]
    fn torn_quotes_are_found_with_their_line() {
        assert_eq!(rows("a,b\n1,2\n\"3,4\n5,6\n"), Err(CsvError::OpenQuote { line: 3 }));
        let read = rows("a,b\n\"1\"x,2\n3,4\n").unwrap();
        assert_eq!(
            read.iter().map(|row| (row.line, row.is_torn)).collect::<Vec<_>>(),
            [(1, false), (2, true), (3, false)]
        );
        let read = rows("a,b\n\"1\n2\",3\n4,5\n").unwrap();
        assert_eq!(read.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 2, 4]);
    }

    #[test]
    fn too_much_is_refused() {
        let many = |rows: usize| "a,b\n".to_owned() + &"1,2\n".repeat(rows);
        assert_eq!(rows(&many(CSV_ROWS_MAX)).unwrap().len(), CSV_ROWS_MAX + 1);
        assert_eq!(rows(&many(CSV_ROWS_MAX + 1)), Err(CsvError::TooManyRows));
        assert_eq!(rows(&",a".repeat(COLUMNS_MAX)), Err(CsvError::TooManyColumns));
        for empty in ["", "\n\n", " , \n"] {
            assert_eq!(rows(empty), Err(CsvError::Empty), "{empty:?}");
        }
    }

    #[test]
    fn encodings_are_told_apart() {
        let text = "名称,价格\n水壶,9.90\n";
        let (gbk, _, _) = encoding_rs::GBK.encode(text);
        let utf16: Vec<u8> =
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(|unit: u16| unit.to_le_bytes()).collect();
        let with_mark = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        for (name, bytes) in [("UTF-8", text.as_bytes()), ("BOM", &with_mark), ("GBK", &gbk), ("UTF-16", &utf16)] {
            assert_eq!(decode(bytes).as_deref(), Ok(text), "{name}");
        }
        for binary in [&b"PK\x03\x04\x14\x00\x06\x00"[..], b"\xff\xff\xff\xff", b"a\0b"] {
            assert_eq!(decode(binary), Err(CsvError::NotText), "{binary:?}");
        }
    }

    #[test]
    fn no_cell_is_a_formula_and_all_come_back_as_they_were() {
        let nasty = [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "＝1",
            "'=1",
            "''",
            "'tis",
            "a,b",
            "say \"x\"",
            "two\nlines",
            "",
            "plain",
            "\"=1\"",
        ];
        let written = line(nasty);
        let read = &cells(&written)[0];
        for (cell, text) in read.iter().zip(nasty) {
            assert!(!cell.starts_with(FORMULA_SIGNS), "{cell}");
            assert_eq!(unmarked(cell), text);
        }
        assert_eq!(read.len(), nasty.len());
    }
}
