//! Alipay's bill of a day: one row for each payment and each refund. The file comes as CSV in GBK. What is read of it is
//! ASCII, and a comma is never a part of another character in GBK or UTF-8, so no charset has to be known.

use contract::{Cents, PaymentId, RefundId};

use crate::{cents, yuan};

/// Rows of a bill at most.
pub const BILL_ROWS_MAX: usize = 200_000;
/// The columns of a bill's rows that are read.
const TRADE_NO: usize = 0;
const OUT_TRADE_NO: usize = 1;
const AMOUNT: usize = 11;
const REFUND_NO: usize = 21;
/// Columns of a row.
const COLUMNS_MIN: usize = 22;

/// How the names of the columns begin, in UTF-8 and in GBK.
const HEADS: [&[u8]; 2] = ["支付宝交易号".as_bytes(), b"\xd6\xa7\xb8\xb6\xb1\xa6\xbd\xbb\xd2\xd7\xba\xc5"];

/// A row of a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillRow {
    /// The platform's name for the trade.
    pub trade_no: String,
    /// The payment, where it is one that the shop could have begun.
    pub payment: Option<PaymentId>,
    /// The money that moved; above zero.
    pub amount: Cents,
    /// It went back.
    pub refund: Option<BilledRefund>,
}

/// A refund in a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BilledRefund {
    /// Its id, where it is one of the shop's.
    pub id: Option<RefundId>,
}

/// The file is no bill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBill {
    /// A row can't be read.
    #[error("line {line}: {what} can't be read")]
    Line { line: usize, what: &'static str },
    /// The names of the columns are missing.
    #[error("the first line without # does not begin with the column 支付宝交易号")]
    NoHead,
    /// It has too many rows.
    #[error("a bill has at most {BILL_ROWS_MAX} rows")]
    TooLong,
}

/// Reads a bill. Lines that begin with `#` are the platform's remarks and sums; the first other line names the columns.
///
/// # Errors
/// See [`NoBill`].
pub fn read_bill(bytes: &[u8]) -> Result<Vec<BillRow>, NoBill> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).zip(1..);
    let mut rows = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with(b"#"));
    let is_head = |line: &[u8]| HEADS.iter().any(|head| line.strip_prefix(b"\"").unwrap_or(line).starts_with(head));
    if !rows.next().is_some_and(|(line, _)| is_head(line)) {
        return Err(NoBill::NoHead);
    }
    let mut bill = Vec::new();
    for (line, number) in rows {
        if bill.len() == BILL_ROWS_MAX {
            return Err(NoBill::TooLong);
        }
        bill.push(row(line).map_err(|what| NoBill::Line { line: number, what })?);
    }
    Ok(bill)
}

/// The names of the columns, of which only some are read.
const COLUMNS: &str = "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,对方账户,\
                       订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,商家优惠（元）,券核销金额（元）,\
                       券名称,商家红包消费金额（元）,卡消费金额（元）,退款批次号/请求号,服务费（元）,分润（元）,备注";

/// A bill as a platform writes it, in UTF-8.
pub fn write_bill(rows: &[BillRow]) -> String {
    let mut bill = format!("#支付宝业务明细查询\n#业务明细列表开始\n{COLUMNS}\n");
    for BillRow { trade_no, payment, amount, refund } in rows {
        let (kind, sign) = if refund.is_some() { ("退款", "-") } else { ("交易", "") };
        let payment = payment.map(|id| id.to_string()).unwrap_or_default();
        let refund = refund.and_then(|refund| refund.id).map(|id| id.to_string()).unwrap_or_default();
        let amount = yuan(*amount);
        bill.push_str(&format!("{trade_no}\t,{payment}\t,{kind},,,,,,,,,{sign}{amount},{sign}{amount}"));
        bill.push_str(&format!(",0.00,0.00,0.00,0.00,0.00,,0.00,0.00,{refund},0.00,0.00,\n"));
    }
    bill.push_str("#业务明细列表结束\n");
    bill
}

fn row(line: &[u8]) -> Result<BillRow, &'static str> {
    let columns: Vec<&[u8]> = line.split(|byte| *byte == b',').collect();
    if columns.len() < COLUMNS_MIN {
        return Err("a row of 22 columns or more");
    }
    let text = |column: usize| {
        let text = columns.get(column).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        // Alipay ends long numbers with a tab, so that spreadsheets keep all their digits.
        text.trim_matches(|char: char| char.is_whitespace() || char == '"')
    };
    let trade_no = text(TRADE_NO).to_owned();
    if !(1..=64).contains(&trade_no.len()) {
        return Err("the trade number");
    }
    let (amount, refund_no) = (text(AMOUNT), text(REFUND_NO));
    let is_refund = !refund_no.is_empty() || amount.starts_with('-');
    let amount = cents(amount.trim_start_matches('-')).filter(|amount| amount.get() > 0).ok_or("the amount")?;
    let refund = is_refund.then(|| BilledRefund { id: refund_no.parse().ok() });
    Ok(BillRow { trade_no, payment: text(OUT_TRADE_NO).parse().ok(), amount, refund })
}
